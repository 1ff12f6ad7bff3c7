//! Logins of this machine: read where they are, had when they are needed, and in no vault.

use crate::stage::{Stage, pool_parts};
use bytes::Bytes;
use claviger_admin::{AccountView, Admin, KeyCreate, SourceWord, StandingView, TokenAsk};
use claviger_contract::{Admission, Answer, Ask, Broker, Content, NotApplied, Refusal};
use claviger_domain::attempt::Attempts;
use claviger_domain::classify::{Class, ClassifyContext, Evidence, classify};
use claviger_domain::credential::{CredentialKind, Source};
use claviger_domain::id::ProviderId;
use claviger_domain::secret::SecretText;
use claviger_domain::value_ref::ValueRef;
use claviger_pool::{AmbientKey, Pool, PoolParts, PoolSettings, ValueError, ValueSource, Values};
use claviger_providers::ambient::{AmbientLogin, AwsProfile};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::BoxFuture;
use claviger_simulator::Rotation;
use claviger_testkit::leak::canary_search;
use http::request::Parts;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

const BEDROCK: &str = "amazon-bedrock";
const SECRET: &str = "canary-aws-secret-key-0001";

/// What stands outside, and which programs were run.
#[derive(Default)]
struct Machine {
    texts: Mutex<BTreeMap<String, Result<String, String>>>,
    runs: Mutex<u32>,
}

/// What stands outside is no business of whoever prints a pool.
impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Machine")
    }
}

impl Machine {
    fn set(&self, place: &str, text: &str) {
        self.texts.lock().unwrap().insert(place.to_owned(), Ok(text.to_owned()));
    }

    fn fail(&self, place: &str, why: &str) {
        self.texts.lock().unwrap().insert(place.to_owned(), Err(why.to_owned()));
    }

    fn remove(&self, place: &str) {
        self.texts.lock().unwrap().remove(place);
    }

    fn runs(&self) -> u32 {
        *self.runs.lock().unwrap()
    }

    /// What a credential process prints.
    fn print(&self, secret: &str, expiration: &str) {
        let text = format!(
            r#"{{"Version":1,"AccessKeyId":"AKIA1","SecretAccessKey":"{secret}","SessionToken":"canary-session","Expiration":"{expiration}"}}"#
        );
        self.set("cmd:/opt/keys", &text);
    }
}

impl ValueSource for Machine {
    fn fetch<'a>(&'a self, value: &'a ValueRef) -> BoxFuture<'a, Result<SecretText, ValueError>> {
        Box::pin(async move { Err(ValueError(format!("{value} is no key"))) })
    }

    fn text<'a>(&'a self, value: &'a ValueRef) -> BoxFuture<'a, Result<Option<Zeroizing<Vec<u8>>>, ValueError>> {
        *self.runs.lock().unwrap() += u32::from(matches!(value, ValueRef::Cmd(_)));
        let found = self.texts.lock().unwrap().get(&value.to_string()).cloned();
        Box::pin(async move { found.transpose().map(|text| text.map(|text| Zeroizing::new(text.into_bytes()))).map_err(ValueError) })
    }
}

fn profile(name: &str) -> AmbientLogin {
    AmbientLogin::AwsProfile(AwsProfile { name: name.to_owned(), config: "/aws/config".into(), credentials: "/aws/credentials".into() })
}

struct Scene {
    stage: Stage,
    machine: Arc<Machine>,
    pool: Pool,
    admission: Admission,
}

impl Scene {
    /// A pool for which one login is named; its providers are at the simulator.
    async fn with(provider: &str, login: AmbientLogin, machine: Machine) -> Self {
        let stage = Stage::new(Rotation::None).await;
        let origin = stage.simulator.origin();
        let overlay = format!(
            "[providers.{BEDROCK}]\nbase_url = \"{origin}\"\n[providers.{BEDROCK}.values]\nregion = \"eu-central-1\"\n\
             [providers.google-vertex]\nbase_url = \"{origin}\"\n\
             [providers.google-vertex.hook_urls]\ndefault-credentials-token = \"{origin}/v1/oauth/token\"\n"
        );
        std::fs::write(stage.overlay().join("ambient.toml"), overlay).unwrap();
        let machine = Arc::new(machine);
        let key = AmbientKey { provider: ProviderId::new(provider).unwrap(), source: Source::Config, login };
        let source = Some(Arc::clone(&machine) as Arc<dyn ValueSource>);
        let values = Values { ambient: vec![key], source, ..Values::default() };
        let catalogue = Arc::new(Catalogue::load(Some(&stage.overlay())).unwrap());
        let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
        let pool = Pool::open(PoolParts { settings: PoolSettings { catalogue, models: Vec::new(), values }, ..parts }).await.unwrap();
        let created = pool.key_create(KeyCreate::default()).await.unwrap();
        let admission = pool.admit(&claviger_domain::virtual_key::Presented::read(created.key.expose()).unwrap(), None).unwrap();
        Self { stage, machine, pool, admission }
    }

    async fn bedrock(machine: Machine) -> Self {
        Self::with(BEDROCK, profile("team"), machine).await
    }

    /// One request, as the gateway sends it: its head after the credential was written.
    async fn request(&self, provider: &str, body: &[u8]) -> Result<Parts, Refusal> {
        let (provider, attempts) = (ProviderId::new(provider).unwrap(), Attempts::new());
        for _turn in 0..4 {
            let ask = Ask {
                admission: &self.admission,
                provider: &provider,
                session: None,
                model: None,
                model_prefix: None,
                own_client: true,
                account: None,
                attempts: &attempts,
                seed: 1,
            };
            match self.pool.lease(&ask) {
                Answer::Ready(lease) => {
                    let mut parts = http::Request::post("/model/a%3A0/converse").body(Bytes::new()).unwrap().into_parts().0;
                    match lease.apply_to(&mut parts, Content::Whole { body, now: self.stage.clock.now() }) {
                        Ok(_attempt) => return Ok(parts),
                        Err(NotApplied::Superseded) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                Answer::Pending(wait) => wait.await?,
                Answer::Refused(refusal) => return Err(refusal),
            }
        }
        panic!("no lease after four turns");
    }

    async fn listed(&self) -> AccountView {
        self.pool.account_list().await.unwrap().accounts.first().unwrap().clone()
    }

    fn after(&self, seconds: u64) -> String {
        let end = self.stage.clock.now().plus(std::time::Duration::from_secs(seconds));
        claviger_admin::time_text::format(end)
    }

    /// Everything that was written.
    fn stored(&self) -> Vec<Vec<u8>> {
        files(&self.stage.home())
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![std::fs::read(path).unwrap()] }).collect()
}

fn authorization(parts: &Parts) -> &str {
    parts.headers.get("authorization").unwrap().to_str().unwrap()
}

fn with_keys() -> Machine {
    let machine = Machine::default();
    machine.set("file:/aws/credentials", &format!("[team]\naws_access_key_id = AKIATEAM\naws_secret_access_key = {SECRET}\n"));
    machine
}

#[tokio::test]
async fn a_profile_with_keys_signs_requests_and_no_key_is_sent_listed_or_stored() {
    let scene = Scene::bedrock(with_keys()).await;
    let parts = scene.request(BEDROCK, b"{}").await.unwrap();
    let header = authorization(&parts);
    assert!(header.starts_with("AWS4-HMAC-SHA256 Credential=AKIATEAM/"), "{header}");
    assert!(header.contains("/eu-central-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature="), "{header}");
    let listed = scene.listed().await;
    assert_eq!((listed.source, listed.standing.clone()), (SourceWord::Config, StandingView::Active));
    assert_eq!((listed.label.as_deref(), listed.follows.as_deref()), (Some("aws profile team"), None));
    scene.pool.flush().await;
    let stored = scene.stored();
    let shown = format!("{listed:?} {:?} {:?}", scene.pool, parts.headers);
    assert!(!shown.contains(SECRET) && stored.iter().all(|file| canary_search(file, &[SECRET]).is_empty()));
}

#[tokio::test]
async fn a_signing_account_gives_no_token() {
    let scene = Scene::bedrock(with_keys()).await;
    scene.request(BEDROCK, b"").await.unwrap();
    let ask = TokenAsk { provider: BEDROCK.into(), account: None, all: false, session: None, actor: String::new() };
    let refused = scene.pool.token(ask).await.unwrap_err();
    assert!(refused.message.contains("signs requests"), "{}", refused.message);
}

#[tokio::test]
async fn a_program_is_run_when_it_is_needed_once_and_again_ahead_of_the_end() {
    let machine = Machine::default();
    machine.set("file:/aws/config", "[profile team]\ncredential_process = /opt/keys\n");
    let scene = Scene::bedrock(machine).await;
    scene.machine.print("canary-first", &scene.after(3600));
    assert_eq!(scene.machine.runs(), 0, "nothing is had before it is needed");
    let (one, two) = tokio::join!(scene.request(BEDROCK, b""), scene.request(BEDROCK, b""));
    let first = scene.listed().await;
    for parts in [one.unwrap(), two.unwrap()] {
        assert_eq!(parts.headers.get("x-amz-security-token").unwrap(), "canary-session");
    }
    scene.pool.sweep().await;
    assert_eq!(scene.machine.runs(), 1);

    scene.stage.advance(3600 - 50);
    scene.machine.print("canary-second", &scene.after(3600));
    scene.request(BEDROCK, b"").await.unwrap();
    scene.pool.sweep().await;
    assert_eq!(scene.machine.runs(), 2);
    let second = scene.listed().await;
    assert_eq!(first.id, second.id);
    assert!(first.grant_revision < second.grant_revision && first.expires_at < second.expires_at);
}

#[tokio::test]
async fn a_program_that_gives_the_same_again_is_not_run_at_every_look() {
    let machine = Machine::default();
    machine.set("file:/aws/config", "[profile team]\ncredential_process = /opt/keys\n");
    let scene = Scene::bedrock(machine).await;
    scene.machine.print("canary-first", &scene.after(3600));
    scene.request(BEDROCK, b"").await.unwrap();
    scene.stage.advance(3600 - 100);
    for _look in 0..4 {
        scene.pool.sweep().await;
        scene.stage.advance(10);
    }
    assert_eq!(scene.machine.runs(), 2);
    scene.request(BEDROCK, b"").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_had_is_listed_with_its_cause_and_mended_where_it_stands() {
    let scene = Scene::bedrock(Machine::default()).await;
    assert!(scene.request(BEDROCK, b"").await.is_err());
    let broken = scene.listed().await;
    assert!(matches!(&broken.standing, StandingView::NeedsLogin { cause } if cause.contains("aws configure --profile team")), "{broken:?}");
    scene.machine.set("file:/aws/config", "[profile team]\nsso_session = s\n");
    scene.stage.advance(31);
    scene.pool.sweep().await;
    let broken = scene.listed().await;
    assert!(matches!(&broken.standing, StandingView::NeedsLogin { cause } if cause.contains("the program aws is not there")), "{broken:?}");
    scene.machine.set("file:/aws/credentials", &format!("[team]\naws_access_key_id = AKIA2\naws_secret_access_key = {SECRET}\n"));
    scene.machine.remove("file:/aws/config");
    scene.stage.advance(31);
    scene.pool.sweep().await;
    assert_eq!(scene.listed().await.standing, StandingView::Active);
    assert!(authorization(&scene.request(BEDROCK, b"").await.unwrap()).contains("AKIA2"));
}

#[tokio::test]
async fn keys_that_are_replaced_are_followed_and_those_that_are_taken_away_end() {
    let scene = Scene::bedrock(with_keys()).await;
    scene.request(BEDROCK, b"").await.unwrap();
    scene.machine.set("file:/aws/credentials", &format!("[team]\naws_access_key_id = AKIANEW\naws_secret_access_key = {SECRET}\n"));
    scene.pool.sweep().await;
    assert!(authorization(&scene.request(BEDROCK, b"").await.unwrap()).contains("AKIANEW"));
    scene.machine.remove("file:/aws/credentials");
    scene.pool.sweep().await;
    scene.request(BEDROCK, b"").await.unwrap();
    scene.stage.advance(31);
    scene.pool.sweep().await;
    assert!(matches!(scene.request(BEDROCK, b"").await, Err(Refusal::NeedsLogin { .. })));
}

#[tokio::test]
async fn a_program_that_fails_leaves_the_credential_to_its_end_and_is_tried_again() {
    let machine = Machine::default();
    machine.set("file:/aws/config", "[profile team]\ncredential_process = /opt/keys\n");
    let scene = Scene::bedrock(machine).await;
    scene.machine.print("canary-first", &scene.after(3600));
    scene.request(BEDROCK, b"").await.unwrap();
    scene.machine.fail("cmd:/opt/keys", "/opt/keys failed: exit status: 1");
    scene.stage.advance(3000);
    scene.pool.sweep().await;
    let listed = scene.listed().await;
    assert_eq!((listed.standing, listed.notice.as_deref()), (StandingView::Active, Some("/opt/keys failed: exit status: 1")));
    scene.request(BEDROCK, b"").await.unwrap();
    scene.stage.advance(601);
    assert!(matches!(scene.request(BEDROCK, b"").await, Err(Refusal::Unavailable { .. })));
    scene.machine.print("canary-second", &scene.after(3600));
    scene.stage.advance(31);
    assert!(scene.request(BEDROCK, b"").await.is_err(), "it is asked half as often after a second failure");
    scene.stage.advance(30);
    scene.request(BEDROCK, b"").await.unwrap();
}

#[tokio::test]
async fn a_lease_from_before_a_change_of_keys_signs_nothing() {
    let scene = Scene::bedrock(with_keys()).await;
    scene.request(BEDROCK, b"").await.unwrap();
    let (provider, attempts) = (ProviderId::new(BEDROCK).unwrap(), Attempts::new());
    let ask = Ask {
        admission: &scene.admission,
        provider: &provider,
        session: None,
        model: None,
        model_prefix: None,
        own_client: true,
        account: None,
        attempts: &attempts,
        seed: 1,
    };
    let lease = || match scene.pool.lease(&ask) {
        Answer::Ready(lease) => lease,
        _ => panic!("no lease"),
    };
    let (held, unread) = (lease(), lease());
    let mut parts = http::Request::post("/").body(()).unwrap().into_parts().0;
    assert_eq!(unread.apply(&mut parts).err(), Some(NotApplied::BodyUnread));
    scene.machine.set("file:/aws/credentials", &format!("[team]\naws_access_key_id = AKIANEW\naws_secret_access_key = {SECRET}\n"));
    scene.pool.sweep().await;
    let content = Content::Whole { body: b"", now: scene.stage.clock.now() };
    assert_eq!(held.apply_to(&mut parts, content).err(), Some(NotApplied::Superseded));
    assert!(parts.headers.is_empty());
}

#[tokio::test]
async fn a_persons_default_credentials_bring_tokens_for_a_refresh_token_that_stays() {
    let machine = Machine::default();
    let scene = Scene::with("google-vertex", AmbientLogin::GoogleFile("/adc.json".into()), machine).await;
    let issued = scene.stage.simulator.control().grant_issue_with("ada", "canary-adc-at", "canary-adc-refresh-token-0001", 3600);
    let file = format!(
        r#"{{"type":"authorized_user","client_id":"c","client_secret":"canary-adc-client-secret-0001","refresh_token":"{}","quota_project_id":"proj-1"}}"#,
        issued.refresh
    );
    scene.machine.set("file:/adc.json", &file);
    let parts = scene.request("google-vertex", b"").await.unwrap();
    assert!(authorization(&parts).starts_with("Bearer "));
    assert_eq!(parts.headers.get("x-goog-user-project").unwrap(), "proj-1");
    let exchanges = scene.stage.simulator.ledger().refreshes();
    scene.request("google-vertex", b"").await.unwrap();
    scene.pool.sweep().await;
    assert_eq!(scene.stage.simulator.ledger().refreshes(), exchanges);
    assert_eq!(scene.listed().await.label.as_deref(), Some("google default credentials"));
    scene.pool.flush().await;
    let canaries = ["canary-adc-refresh-token-0001", "canary-adc-client-secret-0001"];
    assert!(scene.stored().iter().all(|file| canary_search(file, &canaries).is_empty()));
}

#[tokio::test]
async fn a_403_for_keys_that_have_ended_is_not_one_for_a_model_that_is_not_allowed() {
    let scene = Scene::bedrock(with_keys()).await;
    let profile = Arc::clone(scene.pool.routes().provider(BEDROCK).unwrap());
    let class = |body: &str| {
        let context = ClassifyContext { kind: CredentialKind::OAuth, model: Some("m"), now: scene.stage.clock.now() };
        let evidence = Evidence::Answer { status: 403, headers: &http::HeaderMap::new(), body: body.as_bytes() };
        classify(&profile.classes, context, evidence)
    };
    for refused in [
        r#"{"message":"The security token included in the request is expired"}"#,
        r#"{"message":"The security token included in the request is invalid."}"#,
        r#"{"message":"The request signature we calculated does not match the signature you provided."}"#,
    ] {
        assert_eq!(class(refused), Class::Unauthorized, "{refused}");
    }
    let denied = class(r#"{"message":"User: u is not authorized to perform: bedrock:InvokeModel on resource: m"}"#);
    assert!(matches!(denied, Class::Policy { .. }), "{denied:?}");
}

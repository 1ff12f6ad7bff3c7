//! SIGKILL at every named place of a refresh: after a restart the next request is served and no token is reused.

use crate::stage::{Question, Stage, open_pool};
use claviger_contract::Broker;
use claviger_domain::virtual_key::Presented;
use claviger_pool::FAILPOINTS;
use claviger_runtime::{BoxFuture, Failpoint, SystemClock};
use claviger_simulator::Rotation;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

const ROLE: &str = "CLAVIGER_TEST_CRASH_CHILD";

/// Says where it is and waits to be killed.
#[derive(Debug)]
struct DieAt(String);

impl Failpoint for DieAt {
    fn pass<'a>(&'a self, site: &'static str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            if site == self.0 {
                println!("AT {site}");
                std::io::stdout().flush().unwrap();
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

/// The child: refreshes until it comes to its place. Without its role it has nothing to do.
#[tokio::test]
async fn child() {
    #[expect(clippy::disallowed_methods, reason = "the parent names the child's part in the environment")]
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut parts = role.split('|');
    let (site, folder, key) = (parts.next().unwrap(), PathBuf::from(parts.next().unwrap()), parts.next().unwrap());
    let (home, key_file, overlay) = (folder.join("home"), folder.join("keys").join("master.key"), folder.join("providers.d"));
    let pool = open_pool(&home, &key_file, &overlay, Arc::new(SystemClock), Arc::new(DieAt(site.to_owned()))).await;
    let admission = pool.admit(&Presented::read(key).unwrap(), None).unwrap();
    Question::new(&admission).attempt(&pool).await.unwrap();
    panic!("the refresh never came to {site}");
}

#[tokio::test]
async fn a_kill_at_any_place_of_a_refresh_loses_no_account() {
    for site in FAILPOINTS {
        let stage = Stage::with_clock(Rotation::Grace { grace_s: 60 }, Arc::new(SystemClock), None).await;
        let pool = stage.pool().await;
        stage.login(&pool, "ada", -10).await;
        let key = claviger_admin::Admin::key_create(&pool, claviger_admin::KeyCreate::default()).await.unwrap();
        drop(pool);

        kill_at(site, &stage, key.key.expose()).await;

        let pool = stage.pool().await;
        let admission = pool.admit(&Presented::read(key.key.expose()).unwrap(), None).unwrap();
        let (attempt, header) = Question::new(&admission).attempt(&pool).await.unwrap_or_else(|refusal| panic!("{site}: {refusal}"));
        assert_eq!(stage.send(&attempt, &header).await, 200, "{site}");
        let ledger = stage.simulator.ledger();
        assert_eq!(ledger.stale_credentials(), 0, "{site}");
        assert_eq!(ledger.reuses(), 0, "{site}");
        assert!(ledger.refreshes() <= 2, "{site}: {} refreshes", ledger.refreshes());
    }
}

async fn kill_at(site: &str, stage: &Stage, key: &str) {
    let role = format!("{site}|{}|{key}", stage.folder.path().display());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tokio::task::spawn_blocking({
        let site = site.to_owned();
        move || {
            let mut child = child;
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let arrived = lines.map_while(Result::ok).any(|line| line.contains(&format!("AT {site}")));
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(arrived, "the child never came to {site}");
        }
    })
    .await
    .unwrap();
}

//! The store in memory does what the store on disk does, whatever the order of writes.

use claviger_domain::credential::{Custody, Source, Standing};
use claviger_domain::id::{AccountId, AttemptId, GrantId, GrantRevision, InstanceId, ProviderId, RowRevision};
use claviger_domain::identity::Identity;
use claviger_domain::options::AccountOptions;
use claviger_domain::origin::{Origins, StoredOrigins};
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_store::{AccountDraft, AccountPatch, Fingerprint, GrantCommit, GrantDraft, GrantSecret, GrantTake, IntentRow, Store};

/// A fixed sequence of numbers (Knuth's MMIX generator), so that a failure can be run again.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn id(&mut self) -> i64 {
        i64::try_from(1 + self.roll(4)).unwrap()
    }

    fn text(&mut self, prefix: &str, sides: u64) -> SecretText {
        SecretText::new(format!("{prefix}-{}", self.roll(sides)))
    }

    fn secret(&mut self) -> GrantSecret {
        match self.roll(5) {
            0 => GrantSecret::ApiKey { key: self.text("sk-test", 2) },
            1 => GrantSecret::OAuth { access: self.text("at", 3), refresh: None },
            _ => GrantSecret::OAuth { access: self.text("at", 3), refresh: Some(self.text("rt", 4)) },
        }
    }

    fn draft(&mut self) -> AccountDraft {
        let email = Some(self.roll(4)).filter(|n| *n > 0).map(|n| format!("{n}@x.example"));
        let followed = self.roll(3) == 0;
        let origins = if self.roll(3) == 0 { StoredOrigins::Explicit(Origins::default()) } else { StoredOrigins::Builtin };
        AccountDraft {
            provider: ProviderId::new(if self.roll(5) == 0 { "other" } else { "acme" }).unwrap(),
            grant: GrantDraft {
                secret: self.secret(),
                expires_at: None,
                issued_at: Timestamp(5),
                origins,
                custody: if followed { Custody::Followed { path: "/x".into() } } else { Custody::Owned },
            },
            identity: Identity { email, ..Identity::default() },
            source: Source::Imported,
            label: (self.roll(4) == 0).then(|| "label".to_owned()),
            priority: 0,
            options: AccountOptions::default(),
            standing: Standing::Active,
            plan: None,
            logged_in_at: None,
            onto: None,
        }
    }
}

/// Does one random write, and says how it ended.
async fn write(store: &dyn Store, dice: &mut Dice, step: i64) -> String {
    let now = Timestamp(step);
    let (grant, account) = (GrantId(dice.id()), AccountId(dice.id()));
    // Mostly the revisions that are there, so that most writes take place.
    let from = store.grant_load(grant).await.unwrap().map_or(GrantRevision::FIRST, |row| row.revision);
    let from = if dice.roll(6) == 0 { from.next() } else { from };
    let row = store.load().await.unwrap().accounts.into_iter().find(|row| row.id == account);
    let replaces = row.map_or(RowRevision::FIRST, |row| row.revision);
    let attempt = AttemptId(u128::from(dice.roll(6)));
    match dice.roll(15) {
        0..=4 => format!("{:?}", store.account_place(dice.draft(), now).await.unwrap()),
        5 => format!("{:?}", store.account_remove(account, replaces).await.unwrap()),
        6 => {
            let standing = Standing::Disabled { cause: "by hand".to_owned(), since: now };
            let patch = AccountPatch { priority: Some(3), standing: Some(standing), ..AccountPatch::default() };
            format!("{:?}", store.account_patch(account, replaces, patch, now).await.unwrap())
        }
        7 | 8 => {
            let fingerprint = Fingerprint([0; 32]);
            let intent =
                IntentRow { from, fingerprint, attempts: vec![attempt], instance: InstanceId(u128::from(dice.roll(3))), opened_at: now };
            format!("{:?}", store.intent_open(grant, from, intent).await.unwrap())
        }
        9 => format!("{:?}", store.intent_withdraw(grant, from, attempt).await.unwrap()),
        10 => {
            let attempt = (dice.roll(2) == 0).then_some(attempt);
            let commit = GrantCommit { grant, from, secret: dice.secret(), expires_at: Some(now), issued_at: now, attempt };
            format!("{:?} {}", store.grant_commit(commit).await.unwrap(), store.attempt_applied(AttemptId(1)).await.unwrap())
        }
        11 => {
            let origins = if dice.roll(2) == 0 { StoredOrigins::Explicit(Origins::default()) } else { StoredOrigins::Builtin };
            format!("{:?}", store.grant_rebind(grant, from, origins).await.unwrap())
        }
        12 => format!("{:?}", store.grant_release(grant).await.unwrap()),
        13 => {
            let take = GrantTake { grant, from, secret: dice.secret(), expires_at: Some(now), taken_at: now, path: "/tool".into() };
            format!("{:?}", store.grant_take(take).await.unwrap())
        }
        _ => format!("{:?}", store.grant_bury(grant, from, "refused".to_owned(), now).await.unwrap()),
    }
}

/// All that a vault shows, save what differs between any two vaults.
async fn shown(store: &dyn Store) -> String {
    let vault = store.load().await.unwrap();
    let grants = vault.grants.iter().map(|row| {
        let secret = match &row.secret {
            GrantSecret::OAuth { access, refresh } => format!("{} {:?}", access.expose(), refresh.as_ref().map(SecretText::expose)),
            GrantSecret::ApiKey { key } => key.expose().to_owned(),
        };
        let facts = (
            row.id,
            &row.provider,
            row.revision,
            row.expires_at,
            row.issued_at,
            &row.origins,
            &row.custody,
            &row.state,
            &row.intent,
            row.quarantined,
        );
        format!("{secret} {facts:?}")
    });
    let taken: Vec<_> = store.taken_list().await.unwrap().into_iter().map(|row| (row.grant, row.path, row.taken_at)).collect();
    format!("{:?} {:?} {:?} {taken:?}", vault.accounts, grants.collect::<Vec<_>>(), vault.faults)
}

#[tokio::test]
async fn both_stores_agree_after_any_sequence_of_writes() {
    for seed in 1..=12 {
        let ((_folder, disk), ((), memory)) = (super::on_disk(), super::in_memory());
        let mut dice = Dice(seed);
        for step in 1..=80 {
            let mut same = dice.clone();
            let (one, two) = (write(&disk, &mut dice, step).await, write(&memory, &mut same, step).await);
            assert_eq!(one, two, "seed {seed}, step {step}");
            let (one, two) = (shown(&disk).await, shown(&memory).await);
            assert_eq!(one, two, "seed {seed}, step {step}");
        }
    }
}

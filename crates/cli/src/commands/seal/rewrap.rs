//! `claviger seal rewrap`: another passphrase, another key file, or another kind of seal on the same vault.

use super::kind_word;
use crate::args::{RewrapArgs, SealKind as Wanted};
use crate::context::Context;
use crate::error::CliError;
use crate::{key_file, kit, root_key};
use claviger_store::{KdfCost, KitState, RootKey, SealInfo, SealKind, SqliteStore, Store, seal_info};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What was done.
#[derive(Debug, Serialize)]
struct Rewrapped {
    /// What the vault was sealed with.
    from: &'static str,
    /// What it is sealed with now.
    seal: &'static str,
    /// The key file that opens it.
    key_file: Option<PathBuf>,
    /// Where the key file of before is; it opens backups of before.
    old_key_file: Option<PathBuf>,
    /// The entry of the keyring that opens it.
    keyring_entry: Option<String>,
    /// The entry of before, which stays; it opens backups of before.
    old_keyring_entry: Option<String>,
    /// Whether a recovery kit was made that opens the vault no more.
    kit_outdated: bool,
    /// Whether a server runs that has to be restarted before the next `claviger seal rotate`.
    restart_needed: bool,
}

/// Runs the command.
pub async fn run(context: &Context, args: RewrapArgs) -> Result<(), CliError> {
    let old = seal_info(&context.paths.home)?;
    let wanted = wanted(&old, &args)?;
    let store = match kit::source(context, old.vault_id, &args.from).await? {
        Some(root) => super::open_with(context, root).await?,
        None => super::open(context).await?,
    };
    let done = rewrap(context, &store, (&old, wanted), &args).await;
    store.close().await?;
    let done = done?;
    if !context.output.is_json() {
        notes(context, &done);
    }
    context.output.data(&done, || text(&done))
}

/// The kind to seal with: the one that was asked for, else the one that the vault has.
fn wanted(old: &SealInfo, args: &RewrapArgs) -> Result<Wanted, CliError> {
    let wanted = args.to.unwrap_or(match old.kind {
        SealKind::KeyFile => Wanted::Keyfile,
        SealKind::Passphrase => Wanted::Passphrase,
        SealKind::Keyring => Wanted::Keyring,
    });
    if args.new_passphrase_file.is_some() && wanted != Wanted::Passphrase {
        return Err(CliError::usage("--new-passphrase-file is for a passphrase").hint("claviger seal rewrap --to passphrase"));
    }
    Ok(wanted)
}

/// The new key is kept where it belongs before the vault depends on it, and the old one stays: whenever this is interrupted,
/// one of the two is there and opens the vault.
async fn rewrap(
    context: &Context,
    store: &SqliteStore,
    (old, wanted): (&SealInfo, Wanted),
    args: &RewrapArgs,
) -> Result<Rewrapped, CliError> {
    let restart_needed = super::server_runs(context).await?;
    let mut done = Rewrapped {
        from: kind_word(old.kind),
        seal: match wanted {
            Wanted::Keyfile => kind_word(SealKind::KeyFile),
            Wanted::Passphrase => kind_word(SealKind::Passphrase),
            Wanted::Keyring => kind_word(SealKind::Keyring),
        },
        key_file: None,
        old_key_file: None,
        keyring_entry: None,
        old_keyring_entry: old.keyring_entry.clone(),
        kit_outdated: store.seal_status().await?.kit != KitState::Missing,
        restart_needed,
    };
    match wanted {
        Wanted::Passphrase => {
            let root = root_key::next_passphrase(context, args.new_passphrase_file.as_deref())?;
            put(context, store, root, &done).await?;
        }
        Wanted::Keyfile => {
            let path = context.paths.master_key.clone();
            let next = key_file::successor(&path)?;
            put(context, store, RootKey::KeyFile { path: next }, &done).await?;
            done.old_key_file = key_file::settle(&context.paths.home, &path)?;
            done.key_file = Some(path);
        }
        Wanted::Keyring => {
            // The entry stays where this fails: a failure does not prove that nothing of it reaches the disk.
            let (root, entry) = root_key::new_keyring_entry(&context.keyring).await?;
            put(context, store, root, &done).await?;
            done.keyring_entry = Some(entry);
        }
    }
    if old.kind == SealKind::KeyFile && wanted != Wanted::Keyfile {
        done.old_key_file = Some(context.paths.master_key.clone()).filter(|path| path.exists());
    }
    Ok(done)
}

/// Seals the vault anew; audited first. A passphrase is stretched on this thread: nothing else runs in this process.
async fn put(context: &Context, store: &SqliteStore, root: RootKey, done: &Rewrapped) -> Result<(), CliError> {
    super::audit(context, store, "seal.rewrap", format!("from {} to {}", done.from, done.seal)).await?;
    Ok(store.rewrap(&root, KdfCost::default(), context.clock.now()).await?)
}

fn text(done: &Rewrapped) -> String {
    let mut text = format!("sealed    with {} (was: {})\n", done.seal, done.from);
    if let Some(path) = &done.key_file {
        writeln!(text, "key file  {} (whoever has it and the vault has every credential: back them up apart)", path.display())
            .expect("writing to a String never fails");
    }
    if let Some(entry) = &done.keyring_entry {
        writeln!(text, "entry     {entry} of your keyring").expect("writing to a String never fails");
    }
    text
}

/// What there is to look after.
fn notes(context: &Context, done: &Rewrapped) {
    let output = context.output;
    if let Some(path) = &done.old_key_file {
        output.note(format!("the old key file is {}: it opens backups that were made before, and not the vault", path.display()));
    }
    if let Some(entry) = &done.old_keyring_entry {
        output.note(format!("the entry {entry} of your keyring stays: it opens backups that were made before, and not the vault"));
    }
    if done.kit_outdated {
        output.note("the recovery kit of before opens the vault no more\nhint: claviger seal kit FILE");
    }
    if done.restart_needed {
        output.note("the running server goes on; restart it before the next claviger seal rotate\nhint: claviger down && claviger up -d");
    }
    output.note("whoever has the old key and an old copy of the vault has its data keys: if the old key leaked, rotate them\nhint: claviger seal rotate");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{GlobalArgs, KitSource};
    use crate::commands::init;
    use crate::env::Env;
    use crate::os_keyring::Keyring;
    use crate::os_keyring::simulated::{Mood, SimKeyring};
    use claviger_runtime::Clock;
    use claviger_testkit::SimClock;
    use std::sync::Arc;

    async fn rewrap_to(context: &Context, to: Wanted) -> Result<(), CliError> {
        run(context, RewrapArgs { to: Some(to), new_passphrase_file: None, from: KitSource::default() }).await
    }

    #[tokio::test]
    async fn a_key_file_gives_way_to_the_keyring_and_back_and_a_keyring_that_fails_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = |below: &str| root.path().join(below).display().to_string();
        let env =
            Env::fixed(&[("HOME", &path("user")), ("CLAVIGER_HOME", &path("data")), ("CLAVIGER_CONFIG", &path("settings/config.toml"))]);
        let (keyring, clock) = (Arc::new(SimKeyring::default()), Arc::new(SimClock::new()));
        let time: Arc<dyn Clock> = clock;
        let context = Context::on(env, GlobalArgs::default(), time.clone(), Keyring::new(keyring.clone(), time)).unwrap();
        init::create(&context, Wanted::Keyfile).await.unwrap();
        for mood in [Mood::Locked, Mood::Absent, Mood::Forgets] {
            keyring.set(mood);
            assert_eq!(rewrap_to(&context, Wanted::Keyring).await.unwrap_err().exit_code(), 3, "{mood:?}");
            assert_eq!(seal_info(&context.paths.home).unwrap().kind, SealKind::KeyFile, "{mood:?}");
        }
        keyring.set(Mood::Open);
        rewrap_to(&context, Wanted::Keyring).await.unwrap();
        let info = seal_info(&context.paths.home).unwrap();
        assert_eq!((info.kind, info.keyring_entry.map(|entry| keyring.entries().contains(&entry))), (SealKind::Keyring, Some(true)));

        keyring.set(Mood::Locked);
        assert_eq!(rewrap_to(&context, Wanted::Keyfile).await.unwrap_err().exit_code(), 3, "the old key opens, and nothing else");
        keyring.set(Mood::Open);
        rewrap_to(&context, Wanted::Keyfile).await.unwrap();
        assert_eq!(seal_info(&context.paths.home).unwrap().kind, SealKind::KeyFile);
        assert!(!keyring.entries().is_empty(), "the entry stays for backups of before");
        super::super::open(&context).await.unwrap().close().await.unwrap();
    }
}

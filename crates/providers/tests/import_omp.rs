//! Databases that oh-my-pi wrote.

use claviger_domain::block::{BlockEnd, BlockScope};
use claviger_domain::credential::Standing;
use claviger_domain::time::Timestamp;
use claviger_oauth::RefreshToken;
use claviger_providers::catalogue::Catalogue;
use claviger_providers::import::{Import, ImportContext, ImportError, ImportedAccount, ImportedCredential, read_omp, source};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shortly after the fixtures were written.
const NOW: Timestamp = Timestamp(1_795_348_423_000);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/omp").join(name)
}

fn import(path: &Path) -> Import {
    read_omp(Catalogue::builtin(), path, NOW).expect("a database of oh-my-pi")
}

fn refresh(account: &ImportedAccount) -> Option<&str> {
    match &account.credential {
        ImportedCredential::OAuth { refresh, .. } => refresh.as_ref().map(RefreshToken::expose),
        ImportedCredential::ApiKey { .. } => None,
    }
}

fn rows(import: &Import) -> Vec<&str> {
    import.accounts.iter().map(|account| account.row.as_str()).collect()
}

/// Every file of a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    paths.map(|path| (path.clone(), std::fs::read(path).expect("a file"))).collect()
}

const V4_SCHEMA: &str = "CREATE TABLE auth_credentials (id INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL,
    credential_type TEXT NOT NULL, data TEXT NOT NULL, disabled_cause TEXT DEFAULT NULL, identity_key TEXT DEFAULT NULL,
    created_at INTEGER NOT NULL DEFAULT 0, updated_at INTEGER NOT NULL DEFAULT 0);";

fn database(folder: &Path, schema: &str, inserts: &[&str]) -> PathBuf {
    let path = folder.join("agent.db");
    let connection = Connection::open(&path).expect("a new database");
    connection.execute_batch(schema).expect("a schema");
    for insert in inserts {
        connection.execute_batch(insert).expect("a row");
    }
    path
}

#[test]
fn version_4_gives_three_accounts_and_names_what_it_skips() {
    let import = import(&fixture("agent_v4.db"));
    assert_eq!(rows(&import), ["row 1 (anthropic)", "row 2 (openai)", "row 3 (openai-codex)"]);
    let [first, second, third] = import.accounts.as_slice() else { unreachable!() };

    assert_eq!(first.identity.email.as_deref(), Some("a@ex.com"));
    assert_eq!(refresh(first), Some("r1"));
    assert!(
        matches!(&first.credential, ImportedCredential::OAuth { access, expires_at: Some(Timestamp(1_795_352_022_664)), .. } if access.expose() == "a1")
    );
    assert_eq!((&first.standing, first.follow.as_ref()), (&Standing::Active, None));

    assert!(matches!(&second.credential, ImportedCredential::ApiKey { key } if key.expose() == "sk-1"));

    assert_eq!(third.identity.account_id.as_deref(), Some("acc"));
    let Standing::Disabled { cause, since } = &third.standing else { panic!("row 3 is active") };
    assert_eq!((cause.as_str(), *since), ("oauth refresh failed: x", Timestamp(1_795_348_422_000)));

    let skipped: Vec<(&str, &str)> = import.skipped.iter().map(|skipped| (skipped.row.as_str(), skipped.why.as_str())).collect();
    assert_eq!(
        skipped,
        [
            ("row 4 (singularityapi)", "unknown provider \"singularityapi\""),
            ("row 5 (broken)", "its data cannot be used: line 1, column 2: not valid JSON"),
            ("row 6 (weird)", "unknown type \"future_type\""),
        ]
    );
}

#[test]
fn version_8_gives_two_accounts_on_one_grant_and_the_blocks_of_real_meters() {
    let import = import(&fixture("agent_v8.db"));
    assert!(import.skipped.is_empty());
    let [first, second, third, fourth] = import.accounts.as_slice() else { panic!("{:?}", rows(&import)) };

    assert_eq!((refresh(first), refresh(second)), (Some("rt-1"), Some("rt-1")));
    assert_eq!(first.identity.org_name.as_deref(), Some("Org"));
    assert_eq!((first.identity.org_id.as_deref(), second.identity.org_id.as_deref()), (Some("org-1"), Some("org-2")));
    assert_ne!(first.identity.key(), second.identity.key());

    let [block] = third.blocks.as_slice() else { panic!("{:?}", third.blocks) };
    assert_eq!(
        (&block.scope, block.until, block.end),
        (&BlockScope::Tier("spark".into()), Timestamp(1_804_348_422_875), BlockEnd::Guessed)
    );
    assert!(third.notes.is_empty());

    assert!(matches!(&fourth.standing, Standing::Disabled { cause, .. } if cause == "gone"));
}

#[test]
fn nothing_that_is_printed_holds_a_secret() {
    for name in ["agent_v4.db", "agent_v8.db"] {
        let printed = format!("{:?}", import(&fixture(name)));
        for secret in ["\"a1\"", "\"r1\"", "sk-1", "\"a2\"", "\"r2\"", "sk-sapi", "at-1", "rt-1", "at-2", "rt-2", "sk-x"] {
            assert!(!printed.contains(secret), "{name}: {secret}");
        }
    }
}

#[test]
fn a_database_at_rest_is_neither_changed_nor_joined_by_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent #1?.db");
    std::fs::copy(fixture("agent_v8.db"), &path).unwrap();
    let before = content(folder.path());
    assert_eq!(import(&path).accounts.len(), 4);
    assert_eq!(content(folder.path()), before);
}

#[test]
fn rows_in_the_log_of_a_running_tool_are_seen_and_its_files_are_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.db");
    let writer = Connection::open(&path).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    writer.execute_batch(V4_SCHEMA).unwrap();
    writer
        .execute_batch("INSERT INTO auth_credentials (provider, credential_type, data) VALUES ('openai','api_key','{\"key\":\"sk-log\"}')")
        .unwrap();
    let files = [path.clone(), folder.path().join("agent.db-wal")];
    let before = files.clone().map(|file| std::fs::read(file).unwrap());
    assert_eq!(import(&path).accounts.len(), 1);
    assert_eq!(files.map(|file| std::fs::read(file).unwrap()), before);
    drop(writer);
}

#[test]
fn the_oldest_schema_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let schema =
        "CREATE TABLE auth_credentials (id INTEGER PRIMARY KEY, provider TEXT, credential_type TEXT, data TEXT, disabled INTEGER);";
    let inserts = [
        "INSERT INTO auth_credentials VALUES (1,'openai','api_key','{\"key\":\"sk-1\"}',0)",
        "INSERT INTO auth_credentials VALUES (2,'openai','api_key','{\"key\":\"sk-2\"}',1)",
    ];
    let import = import(&database(folder.path(), schema, &inserts));
    assert_eq!(import.accounts[0].standing, Standing::Active);
    assert_eq!(import.accounts[1].standing, Standing::Disabled { cause: "disabled in oh-my-pi".into(), since: NOW });
}

#[test]
fn what_cannot_be_used_is_skipped_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let inserts = [
        "INSERT INTO auth_credentials (provider, credential_type, data) VALUES ('anthropic','oauth','{\"access\":\"at\",\"refresh\":\"__remote__\"}')",
        "INSERT INTO auth_credentials (provider, credential_type, data) VALUES ('openai','api_key','{\"key\":\"N/A\"}')",
        "INSERT INTO auth_credentials (provider, credential_type, data) VALUES ('openai','api_key','{\"key\":\"line\\nbreak\"}')",
        "INSERT INTO auth_credentials (provider, credential_type, data) VALUES ('openai','oauth','{\"access\":\"at\"}')",
        "INSERT INTO auth_credentials (provider, credential_type, data) VALUES ('anthropic','oauth','{\"refresh\":\"rt\"}')",
        "INSERT INTO auth_credentials (provider, credential_type, data) VALUES ('anthropic','oauth',x'00')",
        "INSERT INTO auth_credentials (provider, credential_type, data) VALUES ('openai','api_key','{\"key\":\"sk-good\",\"future\":{}}')",
    ];
    let import = import(&database(folder.path(), V4_SCHEMA, &inserts));
    assert_eq!(rows(&import), ["row 7 (openai)"]);
    let reasons: Vec<&str> = import.skipped.iter().map(|skipped| skipped.why.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "its data cannot be used: its refresh token is kept by a broker; import from there",
            "its data cannot be used: a placeholder stands where the secret belongs",
            "its data cannot be used: the secret holds characters that a header cannot carry",
            "its data cannot be used: openai takes no login",
            "its data cannot be used: line 1, column 1: \"access\" is missing",
            "no data",
        ]
    );
}

#[test]
fn a_row_that_is_not_what_its_column_says_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let schema = "CREATE TABLE auth_credentials (id, provider, credential_type, data);
        CREATE TABLE auth_credential_blocks (credential_id, block_scope, blocked_until_ms);
        CREATE TABLE auth_schema_version (version);";
    let inserts = [
        "INSERT INTO auth_credentials VALUES (NULL,'openai','api_key','{\"key\":\"sk-1\"}')",
        "INSERT INTO auth_credentials VALUES ('x','openai','api_key','{\"key\":\"sk-2\"}')",
        "INSERT INTO auth_credentials VALUES (3,'openai','api_key','{\"key\":\"sk-3\"}')",
        "INSERT INTO auth_credential_blocks VALUES (3,'chat',9e18), (3,'spark',NULL), (3,'tier:x',1795348483000.5)",
        "INSERT INTO auth_schema_version VALUES ('x')",
    ];
    let import = import(&database(folder.path(), schema, &inserts));
    assert_eq!(rows(&import), ["row 3 (openai)"]);
    assert_eq!(import.skipped.iter().map(|skipped| skipped.row.as_str()).collect::<Vec<_>>(), ["a row without a number (openai)"; 2]);
    let blocks: Vec<_> = import.accounts[0].blocks.iter().map(|block| (block.scope.clone(), block.until)).collect();
    assert_eq!(
        blocks,
        [(BlockScope::Account, NOW.plus(Duration::from_hours(366 * 24))), (BlockScope::Tier("x".to_owned()), Timestamp(1_795_348_483_000))],
        "an absurd end is cut to a year"
    );
}

#[test]
fn a_view_in_place_of_the_table_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let schema = "CREATE VIEW auth_credentials AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
        SELECT id, 'openai' AS provider, 'api_key' AS credential_type, '{}' AS data FROM n";
    let error = read_omp(Catalogue::builtin(), &database(folder.path(), schema, &[]), NOW).unwrap_err();
    assert!(matches!(error, ImportError::NotItsDatabase { .. }), "{error}");
}

#[test]
fn a_cause_that_quotes_the_secret_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let insert = "INSERT INTO auth_credentials (provider, credential_type, data, disabled_cause)
        VALUES ('anthropic','oauth','{\"access\":\"canary-at\",\"refresh\":\"canary-rt\"}','400: canary-rt was used before')";
    let import = import(&database(folder.path(), V4_SCHEMA, &[insert]));
    assert!(!format!("{import:?}").contains("canary"));
}

#[test]
fn blocks_that_have_ended_are_left_out_and_unknown_scopes_are_noted() {
    let folder = tempfile::tempdir().unwrap();
    let schema = format!(
        "{V4_SCHEMA} CREATE TABLE auth_credential_blocks (credential_id INTEGER, provider_key TEXT, block_scope TEXT, blocked_until_ms INTEGER, updated_at INTEGER);"
    );
    let inserts = [
        "INSERT INTO auth_credentials (provider, credential_type, data) VALUES ('anthropic','oauth','{\"access\":\"at\"}')",
        "INSERT INTO auth_credential_blocks VALUES (1,'anthropic:oauth','',1795348422999,0)",
        "INSERT INTO auth_credential_blocks VALUES (1,'anthropic:oauth','tier:fable',1795348500000,0)",
        "INSERT INTO auth_credential_blocks VALUES (1,'anthropic:oauth','model-policy:m1',1795348500000,0)",
        "INSERT INTO auth_credential_blocks VALUES (1,'anthropic:oauth','counter:x',1795348500000,0)",
    ];
    let import = import(&database(folder.path(), &schema, &inserts));
    let scopes: Vec<String> = import.accounts[0].blocks.iter().map(|block| block.scope.to_string()).collect();
    assert_eq!(scopes, ["model:m1", "tier:fable"]);
    assert_eq!(import.accounts[0].notes, ["a block of the unknown scope \"counter:x\" left out"]);
}

#[test]
fn what_is_no_such_database_is_an_error_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path| read_omp(Catalogue::builtin(), path, NOW);
    assert!(matches!(read(&folder.path().join("none.db")), Err(ImportError::NotFound { .. })));
    assert!(matches!(read(&database(folder.path(), "CREATE TABLE x (y)", &[])), Err(ImportError::NotItsDatabase { .. })));
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is text, long enough to be taken for the header of a database file").unwrap();
    assert!(matches!(read(&text), Err(ImportError::Database { .. })));
}

#[test]
fn the_registry_reads_it_where_the_tool_keeps_it() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".omp/agent");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(fixture("agent_v4.db"), folder.join("agent.db")).unwrap();
    let context = ImportContext { catalogue: Catalogue::builtin(), now: NOW, home: Some(home.path()), environment: &|_| None };
    assert_eq!(source("omp").unwrap().read(&context, None).unwrap().accounts.len(), 3);
}

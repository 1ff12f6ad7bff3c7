//! Databases of oh-my-pi of every schema before the one that names its version: what is there is told by its columns.

use claviger_domain::credential::Standing;
use claviger_domain::time::Timestamp;
use claviger_providers::catalogue::Catalogue;
use claviger_providers::import::{ImportedCredential, read_omp};
use rusqlite::Connection;

const NOW: Timestamp = Timestamp(1_795_348_423_000);

/// What each schema added to `id, provider, credential_type, data`, and how it says that a row is switched off.
const SCHEMAS: [(&str, &str, &str); 4] = [
    ("disabled INTEGER", "disabled", "1"),
    ("disabled_cause TEXT", "disabled_cause", "'disabled'"),
    ("disabled_cause TEXT, account_id TEXT, email TEXT", "disabled_cause", "'disabled'"),
    ("disabled_cause TEXT, identity_key TEXT", "disabled_cause", "'disabled'"),
];

#[test]
fn every_schema_is_told_by_its_columns_and_the_database_stays_as_it_was() {
    for (schema, (columns, off, word)) in SCHEMAS.into_iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.db");
        let connection = Connection::open(&path).expect("a new database");
        let login = r#"{"access":"at-1","refresh":"rt-1","expires":1,"email":"a@x.example"}"#;
        let text = format!(
            "CREATE TABLE auth_credentials (id INTEGER PRIMARY KEY, provider TEXT, credential_type TEXT, data TEXT, {columns}); \
             INSERT INTO auth_credentials (id, provider, credential_type, data) VALUES (3, 'anthropic', 'oauth', '{login}'); \
             INSERT INTO auth_credentials (id, provider, credential_type, data, {off}) VALUES (7, 'openai', 'api_key', '{{\"key\":\"sk-1\"}}', {word});"
        );
        connection.execute_batch(&text).expect("a schema and two rows");
        drop(connection);
        let before = std::fs::read(&path).expect("a file");
        let import = read_omp(Catalogue::builtin(), &path, NOW).expect("a database of oh-my-pi");
        let [active, disabled] = import.accounts.as_slice() else { panic!("schema {schema}: {:?}", import.skipped) };
        assert_eq!((active.row.as_str(), &active.standing), ("row 3 (anthropic)", &Standing::Active), "schema {schema}");
        assert_eq!(active.identity.key().as_deref(), Some("email:a@x.example"), "schema {schema}: derived from the data");
        assert_eq!(disabled.row, "row 7 (openai)", "schema {schema}");
        assert!(matches!(&disabled.standing, Standing::Disabled { cause, .. } if cause.starts_with("disabled")), "schema {schema}");
        assert_eq!((disabled.identity.key(), matches!(disabled.credential, ImportedCredential::ApiKey { .. })), (None, true));
        assert!(std::fs::read(&path).expect("a file") == before, "schema {schema}: nothing is migrated");
    }
}

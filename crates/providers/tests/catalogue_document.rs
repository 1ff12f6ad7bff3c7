//! `docs/providers.md` is what the catalogue says.

#[expect(dead_code, reason = "its main writes the file")]
#[path = "../examples/providers_document.rs"]
mod providers_document;

use claviger_providers::catalogue::Catalogue;

#[test]
fn docs_providers_is_what_the_catalogue_says() {
    let written = include_str!("../../../docs/providers.md");
    let wanted = providers_document::document(Catalogue::builtin());
    let differing = written.lines().zip(wanted.lines()).find(|(written, wanted)| written != wanted);
    assert!(written == wanted, "docs/providers.md is out of date: run tools/providers; first difference: {differing:?}");
}

//! The `families`, `plans` and `terms` of an entry: which models share a meter, which plans may use which, and who may use a login.

use super::reader::{TableReader, one_of};
use super::wire::header_name;
use claviger_domain::family::{Families, Family};
use claviger_domain::profile::{ClientMark, MarkTest, PlanClass, PlanRow, PlanRules, TermsRule};

pub(super) fn families(entry: &TableReader<'_>) -> Families {
    let family = |table: TableReader<'_>| {
        let name = table.required_text("name").map(str::to_owned);
        let patterns = patterns(&table);
        table.finish();
        Some(Family { name: name?, patterns })
    };
    Families(entry.tables("families").into_iter().filter_map(family).collect())
}

pub(super) fn plans(entry: &TableReader<'_>) -> PlanRules {
    let Some(table) = entry.table("plans") else { return PlanRules::default() };
    let classes: Vec<PlanClass> =
        table.map_of_lists("classes").into_iter().map(|(name, plans)| PlanClass { name, plans: lower(plans) }).collect();
    let named: Vec<(&str, &PlanClass)> = classes.iter().map(|class| (class.name.as_str(), class)).collect();
    let row = |row: TableReader<'_>| {
        let models = patterns(&row);
        let admitted = row.list("classes", |text| one_of(text, &named));
        if !row.has("classes") {
            row.fault("classes", "missing");
        }
        row.finish();
        PlanRow { models, plans: admitted.into_iter().flat_map(|class| class.plans.clone()).collect() }
    };
    let rows = table.tables("rows").into_iter().map(row).collect();
    table.finish();
    PlanRules { classes, rows }
}

pub(super) fn terms(entry: &TableReader<'_>) -> TermsRule {
    let Some(table) = entry.table("terms") else { return TermsRule::default() };
    let rule = TermsRule {
        own_client_only: table.flag("own_client_only").unwrap_or(false),
        note: table.text("note").map(str::to_owned),
        own_client: table.tables("own_client").into_iter().filter_map(mark).collect(),
    };
    table.finish();
    rule
}

fn mark(table: TableReader<'_>) -> Option<ClientMark> {
    let header = table.required_text("header").and_then(|_| table.parsed("header", header_name));
    let prefix = table.text("prefix").map(|text| MarkTest::Prefix(text.to_lowercase()));
    let contains = table.text("contains").map(|text| MarkTest::Contains(text.to_lowercase()));
    if table.has("prefix") == table.has("contains") {
        table.fault("prefix", "one of prefix and contains is expected");
    }
    table.finish();
    Some(ClientMark { header: header?, test: prefix.or(contains)? })
}

fn patterns(table: &TableReader<'_>) -> Vec<String> {
    if !table.has("models") {
        table.fault("models", "missing");
    }
    lower(table.texts("models"))
}

fn lower(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().map(|text| text.to_lowercase()).collect()
}

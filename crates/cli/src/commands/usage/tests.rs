//! What a person sees, on wide and on narrow terminals.

use super::*;
use claviger_admin::{AccountUsageView, AmountView, CostView, LimitView, UsagePoint, UsageSeries, WasteView};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_hours(1);

fn limit(label: &str, used: Option<f64>, status: &str, resets_in: Option<Duration>) -> LimitView {
    LimitView {
        id: label.to_lowercase(),
        label: label.to_owned(),
        scope: "account".into(),
        window_s: Some(18_000),
        used,
        amount: None,
        resets_at: resets_in.map(|left| NOW.plus(left)),
        status: status.into(),
        role: "primary".into(),
    }
}

fn account(id: i64, provider: &str, limits: Vec<LimitView>) -> AccountUsageView {
    let observed_at = (!limits.is_empty()).then(|| NOW.minus(Duration::from_mins(2)));
    AccountUsageView {
        account: id,
        provider: provider.into(),
        name: Some("me@x.example".into()),
        kind: "oauth".into(),
        plan: Some("max".into()),
        observed_at,
        age_s: observed_at.map(|_| 120),
        source: observed_at.map(|_| "headers".into()),
        limits,
        blocked_until: None,
        note: None,
    }
}

fn view() -> UsageView {
    let credits = AmountView { used: Some(3.5), limit: Some(20.0), remaining: None, unit: "usd".into() };
    let first = account(
        3,
        "anthropic",
        vec![
            limit("5h", Some(0.71), "ok", Some(HOUR * 2 + Duration::from_mins(10))),
            limit("7d", Some(0.93), "warning", Some(76 * HOUR)),
            limit("7d opus", Some(1.0), "exhausted", Some(76 * HOUR)),
            LimitView { amount: Some(credits), ..limit("extra", Some(0.175), "ok", None) },
            limit("other", None, "unknown", None),
        ],
    );
    let mut second = account(12, "openai-codex", Vec::new());
    second.plan = None;
    second.name = Some("wo\u{1b}[31mrk".into());
    second.note = Some("no answer within 10 s".into());
    second.blocked_until = Some(NOW.plus(HOUR));
    UsageView { accounts: vec![first, second], ..UsageView::default() }
}

#[test]
fn every_limit_has_a_bar_its_state_in_words_and_the_time_to_its_reset() {
    insta::assert_snapshot!(text(&view(), Parts::default(), Terminal::plain(80), NOW), @r"
    anthropic · me@x.example · max (account 3)  2 min ago, from answers
      5h       █████████████████░░░░░░░  71 %  resets in 2 h 10 min
      7d       ██████████████████████░░  93 %  nearly used up, resets in 3 d 4 h
      7d opus  ████████████████████████ 100 %  used up, resets in 3 d 4 h
      extra    ████░░░░░░░░░░░░░░░░░░░░  18 %  3.50 of 20 usd
      other    ························     ?

    openai-codex · wo�[31mrk (account 12)
      set aside for 1 h
      no answer within 10 s
    ");
}

#[test]
fn on_a_narrow_terminal_bars_shrink_and_no_line_is_longer_than_it() {
    for width in [32, 40, 48, 60, 72] {
        let shown = text(&view(), Parts::default(), Terminal::plain(width), NOW);
        let bars: Vec<&str> = shown.lines().filter(|line| line.contains('█')).collect();
        assert_eq!(bars.len(), 4, "{shown}");
        assert!(bars.iter().all(|line| line.chars().count() <= width), "{width}:\n{shown}");
    }
    insta::assert_snapshot!(text(&view(), Parts::default(), Terminal::plain(40), NOW), @r"
    anthropic · me@x.example · max (account 3)
      2 min ago, from answers
      5h       ███████████░░░░░  71 %
        resets in 2 h 10 min
      7d       ███████████████░  93 %
        nearly used up, resets in 3 d 4 h
      7d opus  ████████████████ 100 %
        used up, resets in 3 d 4 h
      extra    ███░░░░░░░░░░░░░  18 %
        3.50 of 20 usd
      other    ················     ?

    openai-codex · wo�[31mrk (account 12)
      set aside for 1 h
      no answer within 10 s
    ");
}

#[test]
fn colours_add_nothing_that_is_not_said_in_words() {
    let coloured = text(&view(), Parts::default(), Terminal::coloured(80), NOW);
    assert!(coloured.contains("\u{1b}[31m"));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, text(&view(), Parts::default(), Terminal::plain(80), NOW));
}

fn series() -> UsageSeries {
    let point = |hours_ago: u32, used: f64| UsagePoint {
        at: NOW.minus(hours_ago * HOUR),
        used: Some(used),
        status: "ok".into(),
        resets_at: Some(NOW.minus(hours_ago * HOUR).plus(3 * HOUR)),
    };
    let points = vec![point(160, 0.0), point(100, 0.5), point(98, 0.9), point(97, 1.0), point(20, 0.1), point(1, 0.3)];
    UsageSeries { account: 3, provider: "anthropic".into(), limit: "5h".into(), label: "5h".into(), points }
}

#[test]
fn history_is_a_line_from_left_to_right_with_gaps_where_nobody_told_anything() {
    let view = UsageView { history: vec![series()], ..view() };
    let past = (NOW.minus(7 * 24 * HOUR), NOW);
    insta::assert_snapshot!(spark::history(&view.history, &view.accounts, past, Terminal::plain(80)), @r"
    the last 7 d, left to right
      anthropic me@x.example 5h   ▁         ▅█            ▂▂ ▃    30 %, at most 100 %
    ");
    insta::assert_snapshot!(spark::history(&view.history, &view.accounts, past, Terminal::plain(44)), @r"
    the last 7 d, left to right
      anthropic me@x.example 5h
        ▁▁     █       ▂▂▃   30 %, at most 100 %
    ");
    insta::assert_snapshot!(spark::history(&[], &view.accounts, past, Terminal::plain(80)), @r"
    the last 7 d, left to right
      nothing was noted in this time
    ");
}

#[test]
fn waste_and_costs_are_tables_with_a_sum() {
    let waste = |account, hours_ago: u32, unused| WasteView {
        account,
        provider: "anthropic".into(),
        limit: "7d".into(),
        label: "7d".into(),
        unused,
        ended_at: NOW.minus(hours_ago * HOUR),
        observed_at: NOW.minus((hours_ago + 1) * HOUR),
    };
    let costs = vec![
        CostView { provider: "openrouter".into(), account: Some(9), requests: 12, cost_usd: 1.5 },
        CostView { provider: "openrouter".into(), account: None, requests: 1, cost_usd: 0.004 },
    ];
    let view = UsageView { waste: vec![waste(9, 200, 0.5), waste(3, 30, 0.25)], costs, ..view() };
    insta::assert_snapshot!(tables::waste(&view.waste, &view.accounts, NOW), @r"
    PROVIDER   ACCOUNT       LIMIT  ENDED        UNUSED
    anthropic  me@x.example  7d     1 d 6 h ago  25 %
    anthropic  account 9     7d     8 d 8 h ago  50 %

    anthropic 7d: 38 % unused on average of 2 windows
    ");
    insta::assert_snapshot!(tables::waste(&[], &view.accounts, NOW), @r"wasted: no window has ended in this time");
    insta::assert_snapshot!(tables::costs(&view.costs, &view.accounts), @r"
    PROVIDER    ACCOUNT                   REQUESTS  PAID
    openrouter  account 9                 12        1.50 usd
    openrouter  a key that is not stored  1         0.0040 usd
    ");
}

#[test]
fn comma_separated_values_are_quoted_and_start_no_formula() {
    let mut view = UsageView { history: vec![series()], ..view() };
    view.accounts.truncate(1);
    view.accounts[0].limits.truncate(2);
    view.accounts[0].name = Some("=cmd(\"x\"), y".into());
    insta::assert_snapshot!(csv::text(&view, Parts::default()).replace("\r\n", "\n"), @r#"
    provider,account,name,plan,limit,label,scope,used,status,resets_at,observed_at
    anthropic,3,"'=cmd(""x""), y",max,5h,5h,account,0.71,ok,2027-01-15T10:10:00Z,2027-01-15T07:58:00Z
    anthropic,3,"'=cmd(""x""), y",max,7d,7d,account,0.93,warning,2027-01-18T12:00:00Z,2027-01-15T07:58:00Z
    "#);
    assert_eq!(csv::text(&view, Parts { past: Some(HOUR), ..Parts::default() }).lines().count(), 7);
    assert_eq!(csv::text(&view, Parts { waste: true, ..Parts::default() }).lines().count(), 1);
}

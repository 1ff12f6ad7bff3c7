//! What people see of accounts.

use super::*;
use claviger_admin::{BlockView, IdentityView, OptionsView, SourceWord, StandingView};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn account(id: i64, provider: &str) -> AccountView {
    AccountView {
        id,
        provider: provider.to_owned(),
        kind: "oauth".to_owned(),
        label: None,
        identity: IdentityView::default(),
        standing: StandingView::Active,
        blocks: Vec::new(),
        priority: 0,
        masked_key: None,
        options: OptionsView::default(),
        plan: None,
        source: SourceWord::Imported,
        grant: id,
        grant_revision: 1,
        expires_at: None,
        follows: None,
        notice: None,
        logged_in_at: None,
        login_ends_at: None,
        created_at: Timestamp::from_secs(1_799_996_400),
    }
}

fn block(until_secs: i64, guessed: bool) -> BlockView {
    BlockView { scope: "account".to_owned(), until: Timestamp::from_secs(until_secs), guessed, reason: "the quota is used up".to_owned() }
}

fn household() -> AccountList {
    let person = |org: &str, name: Option<&str>| IdentityView {
        email: Some("u1@example.com".to_owned()),
        org_id: Some(org.to_owned()),
        org_name: name.map(str::to_owned),
        ..IdentityView::default()
    };
    let expires_at = Some(Timestamp::from_secs(1_800_003_360));
    AccountList {
        accounts: vec![
            AccountView { identity: person("org-1", Some("Org")), expires_at, label: Some("work".to_owned()), ..account(1, "anthropic") },
            AccountView {
                identity: person("org-2", None),
                expires_at,
                grant: 1,
                blocks: vec![block(1_800_001_800, true)],
                ..account(2, "anthropic")
            },
            AccountView {
                kind: "api_key".to_owned(),
                source: SourceWord::Login,
                priority: -5,
                standing: StandingView::Disabled { cause: "too dear".to_owned() },
                ..account(3, "openai")
            },
            AccountView {
                standing: StandingView::NeedsLogin { cause: "the refresh token was refused".to_owned() },
                blocks: vec![block(1_799_000_000, false)],
                ..account(4, "openai-codex")
            },
            AccountView {
                standing: StandingView::OriginChanged,
                follows: Some("/home/ada/.tool/login.json".to_owned()),
                ..account(5, "anthropic")
            },
            AccountView {
                blocks: vec![BlockView { scope: "tier:large".to_owned(), ..block(1_800_007_200, false) }],
                ..account(7, "google")
            },
            AccountView { standing: StandingView::Damaged { cause: "grants 6: access is damaged".to_owned() }, ..account(6, "google") },
        ],
    }
}

#[test]
fn a_list_shows_who_can_serve_and_until_when_others_cannot() {
    insta::assert_snapshot!(table(&household(), NOW), @r"
    ID  PROVIDER      KIND     IDENTITY                LABEL  PRIORITY  EXPIRES    STANDING
    1   anthropic     oauth    u1@example.com (Org)    work   0         in 56 min  active
    2   anthropic     oauth    u1@example.com (org-2)  -      0         in 56 min  blocked, ends in 30 min
    3   openai        api_key  -                       -      -5        -          disabled
    4   openai-codex  oauth    -                       -      0         -          needs login
    5   anthropic     oauth    -                       -      0         -          origin changed
    7   google        oauth    -                       -      0         -          active, tier:large blocked, ends in 2 h
    6   google        oauth    -                       -      0         -          damaged
    ");
    assert_eq!(table(&AccountList { accounts: Vec::new() }, NOW), "");
}

fn shown(wanted: impl Fn(&AccountView) -> bool) -> String {
    let list = household();
    let all: Vec<String> = list.accounts.iter().filter(|account| wanted(account)).map(|account| details(account, &list, NOW)).collect();
    all.join("\n")
}

#[test]
fn an_account_that_serves_is_shown_with_its_blocks_and_who_shares_its_login() {
    insta::assert_snapshot!(shown(|account| account.standing == StandingView::Active), @r"
    account 1
      provider      anthropic
      kind          oauth
      label         work
      email         u1@example.com
      organisation  Org (org-1)
      standing      active
      expires       2027-01-15T08:56:00Z (in 56 min)
      priority      0
      source        imported
      grant         1, revision 1, shared with account 2
      since         2027-01-15T07:00:00Z (1 h ago)

    account 2
      provider      anthropic
      kind          oauth
      email         u1@example.com
      organisation  org-2
      standing      active
      blocked       account until 2027-01-15T08:30:00Z (in 30 min), a guess: the quota is used up
      expires       2027-01-15T08:56:00Z (in 56 min)
      priority      0
      source        imported
      grant         1, revision 1, shared with account 1
      since         2027-01-15T07:00:00Z (1 h ago)
      to type       claviger account unblock 2

    account 7
      provider      google
      kind          oauth
      standing      active
      blocked       tier:large until 2027-01-15T10:00:00Z (in 2 h): the quota is used up
      priority      0
      source        imported
      grant         7, revision 1
      since         2027-01-15T07:00:00Z (1 h ago)
      to type       claviger account unblock 7
    ");
}

#[test]
fn an_account_that_does_not_serve_is_shown_with_what_to_type() {
    insta::assert_snapshot!(shown(|account| account.standing != StandingView::Active), @r"
    account 3
      provider      openai
      kind          api_key
      standing      disabled: too dear
      priority      -5
      source        login
      grant         3, revision 1
      since         2027-01-15T07:00:00Z (1 h ago)
      to type       claviger account enable 3

    account 4
      provider      openai-codex
      kind          oauth
      standing      needs login: the refresh token was refused
      priority      0
      source        imported
      grant         4, revision 1
      since         2027-01-15T07:00:00Z (1 h ago)
      to type       claviger login openai-codex --account 4

    account 5
      provider      anthropic
      kind          oauth
      standing      the address of anthropic is not the one that this account was stored for
      priority      0
      source        imported
      grant         5, revision 1
      follows       /home/ada/.tool/login.json (read on change, never written, never refreshed here)
      since         2027-01-15T07:00:00Z (1 h ago)
      to type       claviger config show --origin
      to type       claviger account rebind 5, if the new address is meant

    account 6
      provider      google
      kind          oauth
      standing      damaged: grants 6: access is damaged
      priority      0
      source        imported
      grant         6, revision 1
      since         2027-01-15T07:00:00Z (1 h ago)
      to type       claviger account remove 6, then add it again
    ");
}

#[test]
fn an_account_in_quarantine_says_since_when_and_how_it_ends() {
    let held =
        AccountView { standing: StandingView::Quarantined { since: Timestamp::from_secs(1_799_996_400) }, ..account(1, "anthropic") };
    let list = AccountList { accounts: vec![AccountView { blocks: vec![block(1_800_001_800, true)], ..held.clone() }, held] };
    let standings: Vec<String> = list.accounts.iter().map(|account| words::standing(account, NOW)).collect();
    assert_eq!(standings, ["blocked, ends in 30 min", "quarantined"]);
    insta::assert_snapshot!(details(&list.accounts[1], &list, NOW), @r"
    account 1
      provider      anthropic
      kind          oauth
      standing      in quarantine since 2027-01-15T07:00:00Z: this vault was put back from an older copy; its token serves while it lives, and is not refreshed
      priority      0
      source        imported
      grant         1, revision 1
      since         2027-01-15T07:00:00Z (1 h ago)
      to type       claviger account take 1, if this is the copy in use
    ");
}

#[test]
fn a_followed_login_is_renewed_by_its_own_tool() {
    let followed = AccountView {
        standing: StandingView::NeedsLogin { cause: "the token ended".to_owned() },
        follows: Some("/home/ada/.tool/login.json".to_owned()),
        ..account(1, "anthropic")
    };
    assert_eq!(words::remedies(&followed, NOW), ["log in with the tool that keeps /home/ada/.tool/login.json: it is read again on change"]);
}

#[test]
fn an_account_that_is_not_there_is_not_found() {
    let error = pick(&household(), AccountId(9)).unwrap_err();
    assert_eq!((error.exit_code(), error.0.hint.as_deref()), (4, Some("claviger account list")));
}

#[test]
fn a_label_from_elsewhere_cannot_move_the_cursor() {
    let list = AccountList { accounts: vec![AccountView { label: Some("\u{1b}[2J\nx".to_owned()), ..account(1, "openai") }] };
    for text in [table(&list, NOW), details(&list.accounts[0], &list, NOW), words::short(&list.accounts[0])] {
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn a_label_is_one_line() {
    assert_eq!(one_line("label", " a b ").unwrap(), "a b");
    for bad in ["a\nb", "a\u{1b}b", &"x".repeat(201)] {
        assert_eq!(one_line("label", bad).unwrap_err().exit_code(), 2);
    }
}

#[test]
fn what_is_set_for_an_account_has_a_column_only_where_something_is_set() {
    let key = AccountView { kind: "api_key".to_owned(), masked_key: Some("…wxyz".to_owned()), ..account(1, "openai") };
    let options = OptionsView {
        reserve_percent: 10,
        weight: 3,
        own_client_only: true,
        own_client_only_set: "default".to_owned(),
        model_prefix: Some("team-a/".to_owned()),
        proxy: Some("http://me:…@proxy.example:3128".to_owned()),
    };
    let set = AccountView { options, plan: Some("max".to_owned()), ..account(2, "anthropic") };
    let list = AccountList { accounts: vec![key, set] };
    insta::assert_snapshot!(table(&list, NOW), @r"
    ID  PROVIDER   KIND     IDENTITY  LABEL  PRIORITY  EXPIRES  STANDING  OPTIONS
    1   openai     api_key  …wxyz     -      0         -        active    -
    2   anthropic  oauth    -         -      0         -        active    reserve 10%, weight 3, own client only (by terms), models team-a/…, through http://me:…@proxy.example:3128
    ");
    insta::assert_snapshot!(details(&list.accounts[1], &list, NOW), @r"
    account 2
      provider      anthropic
      kind          oauth
      plan          max
      standing      active
      priority      0
      option        reserve 10%
      option        weight 3
      option        own client only (by terms)
      option        models team-a/…
      option        through http://me:…@proxy.example:3128
      source        imported
      grant         2, revision 1
      since         2027-01-15T07:00:00Z (1 h ago)
    ");
    let freed = OptionsView { own_client_only_set: "off".to_owned(), ..OptionsView::default() };
    let freed = AccountView { options: freed, ..account(3, "anthropic") };
    assert_eq!(words::options(&freed), ["any client"]);
}

#[test]
fn a_login_that_ends_soon_is_announced_with_what_to_type() {
    let now = Timestamp::from_secs(1_800_000_000);
    let ends =
        |days: u64| AccountView { login_ends_at: Some(now.plus(std::time::Duration::from_hours(24 * days))), ..account(7, "anthropic") };
    let near = ends(3);
    assert_eq!(words::standing(&near, now), "active, login ends in 3 d");
    assert_eq!(words::remedies(&near, now), ["claviger login anthropic --account 7"]);
    assert!(words::login_end(&near, now).unwrap().contains("2027-01-18"));
    assert_eq!((words::standing(&ends(6), now).as_str(), words::remedies(&ends(6), now).len()), ("active", 0));
    let over = AccountView { login_ends_at: Some(now.minus(std::time::Duration::from_secs(1))), ..account(7, "anthropic") };
    assert_eq!(words::standing(&over, now), "active, login is over");
}

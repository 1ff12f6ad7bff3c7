use super::*;

const NOW: Timestamp = Timestamp(1_000_000_000);

fn grant(rotation: Rotation, expires_in_s: i64) -> GrantFacts {
    let expires_at = Timestamp(NOW.0 + expires_in_s * 1000);
    GrantFacts {
        revision: GrantRevision(4),
        issued_at: Timestamp(expires_at.0 - 3_600_000),
        expires_at: Some(expires_at),
        dead: false,
        rotation,
        claim: Claim::Ours,
    }
}

fn quarantined(grant: &GrantFacts) -> GrantFacts {
    GrantFacts { claim: Claim::Quarantined { since: NOW }, ..grant.clone() }
}

fn intent(attempts: u32, age_s: i64) -> IntentFacts {
    IntentFacts { from: GrantRevision(4), opened_at: Timestamp(NOW.0 - age_s * 1000), attempts, answered: None }
}

const GRACE: Rotation = Rotation::Grace { window: Duration::from_mins(1) };
const REQUEST: Want = Want::IfDue { due: Due::Request };

fn load(want: Want, grant: GrantFacts, intent: Option<IntentFacts>) -> (State, Effect) {
    step(State::new(want), Event::Loaded { grant, intent }, NOW)
}

/// Runs events from a loaded state and returns the effects.
fn run(start: (State, Effect), events: &[Event]) -> Vec<Effect> {
    let (mut state, effect) = start;
    let mut effects = vec![effect];
    for event in events {
        let (next, effect) = step(state, event.clone(), NOW);
        state = next;
        effects.push(effect);
    }
    effects
}

fn sends(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| **effect == Effect::Send).count()
}

#[test]
fn a_token_that_is_not_due_is_adopted_without_network() {
    assert_eq!(load(REQUEST, grant(Rotation::Strict, 1000), None).1, Effect::Finish(Outcome::Adopted));
    assert_eq!(load(REQUEST, grant(Rotation::Strict, 59), None).1, Effect::Connect);
}

#[test]
fn a_refused_revision_that_a_peer_has_replaced_is_adopted_without_network() {
    let newer = |than| load(Want::NewerThan(GrantRevision(than)), grant(Rotation::Strict, 1000), None).1;
    assert_eq!(newer(3), Effect::Finish(Outcome::Adopted));
    assert_eq!(newer(4), Effect::Connect);
}

#[test]
fn the_good_way_connects_before_it_journals_and_journals_before_it_sends() {
    let effects = run(
        load(REQUEST, grant(Rotation::Strict, 0), None),
        &[Event::Connected, Event::Journalled, Event::Answered(AnswerKind::Token), Event::Stored],
    );
    assert_eq!(effects, [Effect::Connect, Effect::Journal, Effect::Send, Effect::Store, Effect::Finish(Outcome::Refreshed)]);
}

#[test]
fn without_a_journal_nothing_is_sent() {
    let effects = run(load(REQUEST, grant(Rotation::Strict, 0), None), &[Event::Connected, Event::NotJournalled]);
    assert_eq!(sends(&effects), 0);
    let failed = Effect::Finish(Outcome::Failed { why: Failure::Storage, retry_at: None });
    assert_eq!(effects.last(), Some(&failed));
}

#[test]
fn no_connection_spends_no_replay() {
    for rotation in [Rotation::Strict, GRACE, Rotation::NonRotating] {
        let effects = run(load(REQUEST, grant(rotation, 0), Some(intent(1, 1))), &[Event::Unreachable]);
        let failed = Effect::Finish(Outcome::Failed { why: Failure::Unreachable, retry_at: None });
        assert_eq!(effects, [Effect::Connect, failed], "{rotation:?}");
    }
}

#[test]
fn a_request_that_failed_before_its_first_byte_is_withdrawn() {
    let effects =
        run(load(REQUEST, grant(Rotation::Strict, 0), None), &[Event::Connected, Event::Journalled, Event::NotSent, Event::Withdrawn]);
    assert_eq!(effects.get(3), Some(&Effect::Withdraw));
}

#[test]
fn a_spilled_answer_is_stored_before_anything_is_sent() {
    let answered = IntentFacts { answered: Some(AttemptId(7)), ..intent(1, 5) };
    let effects = run(load(REQUEST, grant(Rotation::Strict, 0), Some(answered)), &[Event::Answered(AnswerKind::Token), Event::Stored]);
    assert_eq!(effects, [Effect::ReadSpill(AttemptId(7)), Effect::Store, Effect::Finish(Outcome::Refreshed)]);
}

#[test]
fn a_lost_strict_answer_uses_the_live_token_up_and_is_replayed_once_near_its_end() {
    let using_up = load(Want::NewerThan(GrantRevision(4)), grant(Rotation::Strict, 1000), Some(intent(1, 5))).1;
    assert_eq!(using_up, Effect::Finish(Outcome::UsingUp { look_again_at: Timestamp(NOW.0 + 970_000) }));
    // To look again after no time at all would be to look again for ever.
    assert_eq!(load(REQUEST, grant(Rotation::Strict, 30), Some(intent(1, 5))).1, Effect::Connect);
    assert_eq!(load(REQUEST, grant(Rotation::Strict, 20), Some(intent(1, 5))).1, Effect::Connect);
    assert_eq!(load(REQUEST, grant(Rotation::Strict, -5), Some(intent(1, 5))).1, Effect::Connect);
}

#[test]
fn after_the_one_replay_a_strict_grant_is_buried_and_never_sent_again() {
    let effects = run(load(REQUEST, grant(Rotation::Strict, -5), Some(intent(2, 5))), &[Event::Buried { moved: false }]);
    assert!(matches!(effects.first(), Some(Effect::Bury { .. })), "{effects:?}");
    assert_eq!(sends(&effects), 0);
    // While its last token lives, it serves.
    assert!(matches!(load(REQUEST, grant(Rotation::Strict, 20), Some(intent(2, 5))).1, Effect::Finish(Outcome::UsingUp { .. })));
}

#[test]
fn a_lost_answer_of_a_grace_provider_is_replayed_at_once_and_once() {
    let start = load(REQUEST, grant(GRACE, -5), None);
    let lost = Event::Answered(AnswerKind::Ambiguous);
    let effects = run(start, &[Event::Connected, Event::Journalled, lost.clone(), Event::Connected, Event::Journalled, lost]);
    assert_eq!(sends(&effects), 2);
    assert!(matches!(effects.last(), Some(Effect::Bury { .. })), "{effects:?}");
}

#[test]
fn after_its_window_a_grace_provider_counts_as_strict() {
    assert!(matches!(load(REQUEST, grant(GRACE, 1000), Some(intent(1, 61))).1, Effect::Finish(Outcome::UsingUp { .. })));
    assert_eq!(load(REQUEST, grant(GRACE, 1000), Some(intent(1, 59))).1, Effect::Connect);
}

#[test]
fn a_grace_window_that_closes_while_connecting_spends_no_replay_on_a_live_token() {
    let (state, effect) = load(REQUEST, grant(GRACE, 1000), Some(intent(1, 59)));
    assert_eq!(effect, Effect::Connect);
    let using_up = |(_, effect)| matches!(effect, Effect::Finish(Outcome::UsingUp { .. }));
    assert!(using_up(step(state.clone(), Event::Connected, Timestamp(NOW.0 + 1000))));
    assert_eq!(step(state, Event::Connected, NOW).1, Effect::Journal);
}

#[test]
fn a_provider_that_does_not_rotate_is_simply_asked_again() {
    assert_eq!(load(REQUEST, grant(Rotation::NonRotating, 0), Some(intent(9, 9999))).1, Effect::Connect);
}

#[test]
fn an_unreadable_answer_of_a_provider_that_does_not_rotate_leaves_no_attempt_behind() {
    let lost = || Event::Answered(AnswerKind::Ambiguous);
    let effects = run(
        load(REQUEST, grant(Rotation::NonRotating, 0), None),
        &[Event::Connected, Event::Journalled, lost(), Event::Withdrawn, Event::Connected, Event::Journalled, lost(), Event::Withdrawn],
    );
    assert_eq!(sends(&effects), 2);
    assert_eq!(effects.iter().filter(|effect| **effect == Effect::Withdraw).count(), 2, "{effects:?}");
    let failed = Effect::Finish(Outcome::Failed { why: Failure::AnswerLost, retry_at: None });
    assert_eq!(effects.last(), Some(&failed));
}

#[test]
fn an_answer_that_cannot_be_read_now_is_not_taken_for_lost() {
    let answered = IntentFacts { answered: Some(AttemptId(7)), ..intent(1, 5) };
    let effects = run(load(REQUEST, grant(Rotation::Strict, -5), Some(answered)), &[Event::Unreadable]);
    let failed = Effect::Finish(Outcome::Failed { why: Failure::Storage, retry_at: None });
    assert_eq!(effects.last(), Some(&failed), "{effects:?}");
}

#[test]
fn a_refused_token_without_an_end_is_not_used_up_for_ever() {
    let endless = GrantFacts { expires_at: None, ..grant(Rotation::Strict, 0) };
    let refused = Want::NewerThan(GrantRevision(4));
    assert_eq!(load(refused, endless.clone(), Some(intent(1, 5))).1, Effect::Connect);
    assert!(matches!(load(refused, endless.clone(), Some(intent(2, 5))).1, Effect::Bury { .. }));
    // Nobody refused it: it serves.
    assert!(matches!(load(REQUEST, endless, Some(intent(1, 5))).1, Effect::Finish(Outcome::UsingUp { .. })));
}

#[test]
fn a_clock_that_was_set_back_opens_no_window_of_grace() {
    let from_the_future = intent(1, -3600);
    assert!(matches!(load(REQUEST, grant(GRACE, 1000), Some(from_the_future)).1, Effect::Finish(Outcome::UsingUp { .. })));
}

#[test]
fn a_burial_that_was_not_written_is_no_death() {
    let dead = Event::Answered(AnswerKind::Dead { code: "invalid_grant".into() });
    let effects = run(load(REQUEST, grant(Rotation::Strict, 0), None), &[Event::Connected, Event::Journalled, dead, Event::NotStored]);
    let failed = Effect::Finish(Outcome::Failed { why: Failure::Storage, retry_at: None });
    assert_eq!(effects.last(), Some(&failed));
}

#[test]
fn a_dead_answer_buries_unless_a_peer_moved_on() {
    let dead = || Event::Answered(AnswerKind::Dead { code: "invalid_grant".into() });
    for (moved, expected) in [(true, Outcome::Adopted), (false, Outcome::Dead { cause: String::new() })] {
        let effects =
            run(load(REQUEST, grant(Rotation::Strict, 0), None), &[Event::Connected, Event::Journalled, dead(), Event::Buried { moved }]);
        assert_eq!(effects.last(), Some(&Effect::Finish(expected)));
    }
}

#[test]
fn the_cause_of_death_tells_a_refused_replay_from_a_first_refusal() {
    let cause_after = |intent| {
        let dead = Event::Answered(AnswerKind::Dead { code: "invalid_grant".into() });
        let effects = run(load(REQUEST, grant(Rotation::Strict, -5), intent), &[Event::Connected, Event::Journalled, dead]);
        match effects.last() {
            Some(Effect::Bury { cause }) => cause.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(cause_after(None), "the provider refused the refresh token (invalid_grant)");
    assert_eq!(cause_after(Some(intent(1, 5))), "the answer to a refresh was lost, and its replay was refused (invalid_grant)");
}

#[test]
fn a_put_off_replay_is_withdrawn_and_can_be_made_again() {
    let put_off = Event::Answered(AnswerKind::Transient { retry_at: Some(NOW) });
    let effects = run(
        load(REQUEST, grant(Rotation::Strict, -5), Some(intent(1, 5))),
        &[Event::Connected, Event::Journalled, put_off, Event::Withdrawn],
    );
    let failed = Effect::Finish(Outcome::Failed { why: Failure::PutOff, retry_at: Some(NOW) });
    assert_eq!(effects.last(), Some(&failed));
    assert_eq!(effects.get(3), Some(&Effect::Withdraw));
}

#[test]
fn an_intent_of_an_older_revision_stands_in_nobodys_way() {
    let old = IntentFacts { from: GrantRevision(3), ..intent(2, 5) };
    assert_eq!(load(REQUEST, grant(Rotation::Strict, 1000), Some(old)).1, Effect::Finish(Outcome::Adopted));
}

#[test]
fn under_quarantine_a_single_use_token_is_neither_connected_for_nor_sent() {
    let held = Effect::Finish(Outcome::Quarantined { since: NOW });
    for rotation in [Rotation::Strict, GRACE] {
        for want in [REQUEST, Want::NewerThan(GrantRevision(4))] {
            for open in [None, Some(intent(1, 1)), Some(intent(1, 61)), Some(intent(2, 5))] {
                assert_eq!(load(want, quarantined(&grant(rotation, -5)), open.clone()).1, held, "{rotation:?} {want:?} {open:?}");
            }
        }
    }
}

#[test]
fn under_quarantine_what_is_here_serves_and_what_was_spilled_is_recovered() {
    let live = quarantined(&grant(Rotation::Strict, 1000));
    assert_eq!(load(REQUEST, live.clone(), None).1, Effect::Finish(Outcome::Adopted));
    assert_eq!(load(Want::NewerThan(GrantRevision(3)), live.clone(), None).1, Effect::Finish(Outcome::Adopted));
    let answered = || Some(IntentFacts { answered: Some(AttemptId(7)), ..intent(1, 5) });
    let effects = run(load(REQUEST, live.clone(), answered()), &[Event::Answered(AnswerKind::Token), Event::Stored]);
    assert_eq!(effects, [Effect::ReadSpill(AttemptId(7)), Effect::Store, Effect::Finish(Outcome::Refreshed)]);
    // An answer that turns out to be none is lost, and not asked for again.
    let effects = run(load(REQUEST, live, answered()), &[Event::Answered(AnswerKind::Ambiguous)]);
    assert_eq!(effects.last(), Some(&Effect::Finish(Outcome::Quarantined { since: NOW })));
}

#[test]
fn under_quarantine_a_grant_that_does_not_rotate_is_refreshed_as_ever() {
    for open in [None, Some(intent(1, 5))] {
        assert_eq!(load(REQUEST, quarantined(&grant(Rotation::NonRotating, 0)), open).1, Effect::Connect);
    }
}

#[test]
fn a_dead_grant_stays_dead_under_quarantine() {
    let dead = GrantFacts { dead: true, ..quarantined(&grant(Rotation::Strict, 1000)) };
    assert_eq!(load(REQUEST, dead, None).1, Effect::Finish(Outcome::Dead { cause: String::new() }));
}

#[test]
fn no_order_of_events_sends_more_than_two_times() {
    let grants = [grant(Rotation::Strict, -5), grant(GRACE, -5), grant(Rotation::NonRotating, -5), grant(Rotation::Strict, 1000)];
    let events = [
        Event::Connected,
        Event::Journalled,
        Event::NotSent,
        Event::Answered(AnswerKind::Ambiguous),
        Event::Answered(AnswerKind::Token),
        Event::Withdrawn,
        Event::Stored,
    ];
    for grant in grants {
        let mut frontier = vec![(load(Want::NewerThan(GrantRevision(4)), grant, None), 0_usize)];
        for _depth in 0..9 {
            let mut next = Vec::new();
            for ((state, _), sent) in frontier {
                for event in &events {
                    let (state, effect) = step(state.clone(), event.clone(), NOW);
                    let sent = sent + usize::from(effect == Effect::Send);
                    assert!(sent <= 2);
                    if state.at != At::Finished {
                        next.push(((state, effect), sent));
                    }
                }
            }
            frontier = next;
        }
    }
}

#[test]
fn a_fresh_short_lived_token_is_not_due_for_a_request() {
    let at = |s: i64| Timestamp(NOW.0 + s * 1000);
    assert!(!due_for_request(NOW, at(60), NOW));
    assert!(due_for_request(NOW, at(60), at(45)));
    assert!(!due_for_request(NOW, at(3600), at(3539)));
    assert!(due_for_request(NOW, at(3600), at(3540)));
}

#[test]
fn the_sweep_leads_by_a_share_of_life_within_bounds() {
    let at = |s: i64| Timestamp(NOW.0 + s * 1000);
    assert!(!due_for_sweep(NOW, at(3600), 0, at(3059)));
    assert!(due_for_sweep(NOW, at(3600), 0, at(3060)));
    assert!(!due_for_sweep(NOW, at(3600), 255, at(2519)));
    assert!(due_for_sweep(NOW, at(3600), 255, at(2520)));
    // Half of the jitter, rounded down to whole percents: 22 % of its life.
    assert!(!due_for_sweep(NOW, at(3600), 127, at(2807)));
    assert!(due_for_sweep(NOW, at(3600), 127, at(2808)));
    // Never more than half of its life.
    assert!(!due_for_sweep(NOW, at(300), 255, at(149)));
    assert!(due_for_sweep(NOW, at(300), 255, at(150)));
}

#[test]
fn a_token_is_not_sent_in_its_last_five_seconds_or_its_last_eighth_if_that_is_shorter() {
    for (life_s, margin_ms) in [(3600, 5000), (40, 5000), (16, 2000), (8, 1000)] {
        let end = Timestamp(NOW.0 + life_s * 1000);
        assert!(sendable(NOW, end, Timestamp(end.0 - margin_ms - 1)), "{life_s} s");
        assert!(!sendable(NOW, end, Timestamp(end.0 - margin_ms)), "{life_s} s");
        assert!(!sendable(NOW, end, end), "{life_s} s");
    }
}

#[test]
fn a_token_that_is_not_sent_any_more_is_due() {
    for life_s in [0, 1, 3, 8, 15, 20, 40, 60, 300, 3600, 36_000] {
        let end = Timestamp(NOW.0 + life_s * 1000);
        assert!(life_s == 0 || sendable(NOW, end, NOW), "a fresh token of {life_s} s is sent");
        for left_ms in (0..=8_000).step_by(50) {
            let now = Timestamp(end.0 - left_ms);
            assert!(
                sendable(NOW, end, now) || (due_for_request(NOW, end, now) && due_for_sweep(NOW, end, 0, now)),
                "{left_ms} ms of {life_s} s"
            );
        }
    }
}

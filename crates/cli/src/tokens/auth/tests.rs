use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidings::hub::{ChannelName, Hub};

use super::super::key::Key;
use super::super::testing::{EDDSA, ES256, NOW, SECRET, at, secret_key, set, token};
use super::*;

const OTHER: &[u8] = b"another secret of 32 bytes, or more";

fn key(id: &str, secret: &[u8]) -> Key {
    Key::secret(Some(id.into()), secret).unwrap()
}

fn claims() -> Value {
    // The grant knows the real time.
    json!({"exp": 4_000_000_000_u64, "subscribe": ["news/*", "chat"], "publish": ["chat"]})
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts
        .iter()
        .map(|text| Pattern::new(text).unwrap())
        .collect()
}

fn auth(keys: impl IntoIterator<Item = Key>) -> Auth {
    Auth::new(set(keys), None)
}

fn is_revoked(access: &Access) -> bool {
    !access.grant().is_valid()
}

fn ticket(auth: &Auth, access: &Access) -> String {
    auth.issue_ticket(access, patterns(&["chat"]), at(NOW))
        .unwrap()
}

#[test]
fn a_token_allows_what_its_claims_name() {
    let auth = auth([secret_key(None)]);
    let access = auth.authenticate(&token(&secret_key(None), &claims()), at(NOW));
    let access = access.unwrap();
    let publishes = |name: &str| access.may_publish(&ChannelName::new(name).unwrap());
    assert!(publishes("chat"));
    for name in ["chat/a", "Chat", "cha", "chatt", "news/a"] {
        assert!(!publishes(name), "{name}");
    }
    let subscribes = |text: &str| access.may_subscribe(&Pattern::new(text).unwrap());
    for text in ["chat", "news/a", "news/a/b", "news/*", "news/a/*"] {
        assert!(subscribes(text), "{text}");
    }
    for text in ["chat/*", "news", "newsx", "news.a", "News/a"] {
        assert!(!subscribes(text), "{text}");
    }
    assert!(!access.may_read_metrics());
}

#[test]
fn all_requests_with_a_token_share_its_grant() {
    let auth = auth([secret_key(None)]);
    let text = token(&secret_key(None), &claims());
    let first = auth.authenticate(&text, at(NOW)).unwrap();
    let second = auth.authenticate(&text, at(NOW)).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    first.grant().revoke();
    assert!(is_revoked(&second));
}

#[test]
fn a_known_token_expires_too() {
    let auth = auth([secret_key(None)]);
    let text = token(&secret_key(None), &json!({"exp": NOW + 10, "nbf": NOW}));
    assert!(auth.authenticate(&text, at(NOW + 9)).is_ok());
    let refused = |time| auth.authenticate(&text, at(time)).unwrap_err();
    assert_eq!(refused(NOW + 10), InvalidToken::Expired);
    assert_eq!(refused(NOW - 1), InvalidToken::NotYetValid);
    assert!(auth.authenticate(&text, at(NOW + 9)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_lapses_before_its_token_is_made_anew() {
    let auth = auth([secret_key(None)]);
    let now: SystemTime = Timestamp::now().try_into().unwrap();
    let expires = now.duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(3_600);
    let text = token(
        &secret_key(None),
        &json!({"exp": expires.as_secs(), "subscribe": ["chat"]}),
    );
    let first = auth.authenticate(&text, now).unwrap();
    // An hour passes, and the clock is set back by as much.
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(first.check(now), Err(InvalidToken::Expired));
    let made = auth.issue_ticket(&first, patterns(&["chat"]), now);
    assert_eq!(made, Err(NoTicket::Invalid(InvalidToken::Expired)));
    let second = auth.authenticate(&text, now).unwrap();
    assert_eq!(second.check(now), Ok(()));
    assert!(second.grant().allows(&Pattern::from_static("chat")));
    assert!(Arc::ptr_eq(
        &second,
        &auth.authenticate(&text, now).unwrap()
    ));
    assert_eq!(auth.lock().cache.len(), 1);
}

#[test]
fn one_token_uses_no_tickets_of_the_others() {
    let auth = auth([secret_key(None)]);
    auth.lock().used = UsedTickets::with_max(8);
    let [one, two] = [0, 1].map(|number| {
        let mut claims = claims();
        claims["exp"] = json!(4_000_000_000_u64 + number);
        let text = token(&secret_key(None), &claims);
        auth.authenticate(&text, at(NOW)).unwrap()
    });
    let spare = ticket(&auth, &one);
    for _ in 0..4 {
        auth.redeem(&ticket(&auth, &one), at(NOW)).unwrap();
    }
    let made = auth.issue_ticket(&one, patterns(&["chat"]), at(NOW));
    assert_eq!(made, Err(NoTicket::TooMany));
    let refused = auth.redeem(&spare, at(NOW + 1)).unwrap_err();
    assert_eq!(refused, InvalidTicket::TooMany);
    for _ in 0..2 {
        auth.redeem(&ticket(&auth, &two), at(NOW)).unwrap();
    }
    // A refused ticket is not used.
    let later = auth.issue_ticket(&one, patterns(&["chat"]), at(NOW + 20));
    assert_eq!(later, Err(NoTicket::TooMany));
    let after = auth.issue_ticket(&one, patterns(&["chat"]), at(NOW + 30));
    assert!(auth.redeem(&after.unwrap(), at(NOW + 30)).is_ok());
}

#[test]
fn a_used_ticket_keeps_no_memory_after_its_stream() {
    let auth = auth([secret_key(None)]);
    let access = auth.authenticate(&token(&secret_key(None), &claims()), at(NOW));
    let access = access.unwrap();
    let open = auth.redeem(&ticket(&auth, &access), at(NOW)).unwrap();
    for _ in 0..5_000 {
        let ended = auth.redeem(&ticket(&auth, &access), at(NOW)).unwrap();
        assert_eq!(Arc::strong_count(&ended), 1);
    }
    let state = auth.lock();
    assert!(state.opened.len() <= 1_002, "{}", state.opened.len());
    assert_eq!(state.cache.len(), 1);
    drop(state);
    auth.replace(set([key("other", OTHER)]));
    assert!(is_revoked(&open) && is_revoked(&access));
}

#[test]
fn a_key_that_is_gone_revokes_its_tokens_and_no_others() {
    let auth = auth([key("a", SECRET), key("b", OTHER)]);
    let (of_a, of_b) = (
        token(&key("a", SECRET), &claims()),
        token(&key("b", OTHER), &claims()),
    );
    let a = auth.authenticate(&of_a, at(NOW)).unwrap();
    let b = auth.authenticate(&of_b, at(NOW)).unwrap();
    auth.replace(set([key("b", OTHER), key("c", SECRET)]));
    assert!(is_revoked(&a));
    assert!(!is_revoked(&b));
    let refused = auth.authenticate(&of_a, at(NOW)).unwrap_err();
    assert_eq!(refused, InvalidToken::UnknownKey);
    let same = auth.authenticate(&of_b, at(NOW)).unwrap();
    assert!(Arc::ptr_eq(&same, &b));
    // The key comes back: its tokens are valid again, and a revoked access stays revoked.
    auth.replace(set([key("a", SECRET)]));
    assert!(!is_revoked(&auth.authenticate(&of_a, at(NOW)).unwrap()));
    assert!(is_revoked(&a) && is_revoked(&b));
}

#[test]
fn another_key_under_the_same_kid_revokes_too() {
    let auth = auth([key("a", SECRET)]);
    let text = token(&key("a", SECRET), &claims());
    let access = auth.authenticate(&text, at(NOW)).unwrap();
    auth.replace(set([key("a", OTHER)]));
    assert!(is_revoked(&access));
    let refused = auth.authenticate(&text, at(NOW)).unwrap_err();
    assert_eq!(refused, InvalidToken::Signature);
}

#[test]
fn a_ticket_opens_one_stream_of_its_channels() {
    let auth = auth([secret_key(None)]);
    let access = auth.authenticate(&token(&secret_key(None), &claims()), at(NOW));
    let access = access.unwrap();
    let ticket = auth.issue_ticket(&access, patterns(&["news/a/*", "chat"]), at(NOW));
    let ticket = ticket.unwrap();
    let opened = auth.redeem(&ticket, at(NOW + 29)).unwrap();
    for (text, expected) in [("news/a/b", true), ("chat", true), ("news/b", false)] {
        assert_eq!(opened.may_subscribe(&Pattern::new(text).unwrap()), expected);
    }
    assert!(!opened.may_publish(&ChannelName::from_static("chat")));
    assert!(!opened.may_read_metrics());
    assert_eq!(opened.expires(), access.expires());
    for time in [NOW, NOW + 29] {
        let refused = auth.redeem(&ticket, at(time)).unwrap_err();
        assert_eq!(refused, InvalidTicket::Used);
    }
    let refused = auth.redeem(&ticket, at(NOW + 31)).unwrap_err();
    assert_eq!(refused, InvalidTicket::Expired);
}

#[test]
fn a_ticket_for_more_than_the_token_is_not_made() {
    let auth = auth([secret_key(None)]);
    let access = auth.authenticate(&token(&secret_key(None), &claims()), at(NOW));
    let access = access.unwrap();
    for denied in ["news", "other", "chat/*"] {
        let made = auth.issue_ticket(&access, patterns(&["chat", denied]), at(NOW));
        let denied = Pattern::new(denied).unwrap();
        assert_eq!(made, Err(NoTicket::NotGranted(denied)));
    }
    let long: Vec<_> = (0..64)
        .map(|number| Pattern::new(format!("news/{}{number}", "x".repeat(200))).unwrap())
        .collect();
    assert_eq!(
        auth.issue_ticket(&access, long, at(NOW)),
        Err(NoTicket::TooLong)
    );
}

#[test]
fn a_ticket_is_no_token_and_a_token_no_ticket() {
    let auth = auth([secret_key(None)]);
    let text = token(&secret_key(None), &claims());
    let access = auth.authenticate(&text, at(NOW)).unwrap();
    let ticket = auth.issue_ticket(&access, patterns(&["chat"]), at(NOW));
    let ticket = ticket.unwrap();
    let as_token = auth.authenticate(&ticket, at(NOW)).unwrap_err();
    assert_eq!(as_token, InvalidToken::Malformed);
    // With a header in front of it, it has the form of a token.
    for header in [text.split('.').next().unwrap(), ""] {
        let framed = format!("{header}.{ticket}");
        assert!(auth.authenticate(&framed, at(NOW)).is_err());
    }
    let as_ticket = auth.redeem(&text, at(NOW)).unwrap_err();
    assert_eq!(as_ticket, InvalidTicket::Malformed);
    let (_, rest) = text.split_once('.').unwrap();
    for parts in [rest, &text[..text.rfind('.').unwrap()]] {
        assert!(auth.redeem(parts, at(NOW)).is_err());
    }
    assert!(auth.redeem(&ticket, at(NOW)).is_ok());
}

#[test]
fn a_ticket_of_a_key_that_is_gone_is_refused_and_its_stream_ends() {
    let auth = auth([key("a", SECRET), key("z", OTHER)]);
    let access = auth.authenticate(&token(&key("a", SECRET), &claims()), at(NOW));
    let access = access.unwrap();
    let ticket = || {
        let made = auth.issue_ticket(&access, patterns(&["chat"]), at(NOW));
        made.unwrap()
    };
    let (open, kept) = (ticket(), ticket());
    let stream = auth.redeem(&open, at(NOW)).unwrap();
    auth.replace(set([key("z", OTHER)]));
    assert!(is_revoked(&stream));
    let refused = auth.redeem(&kept, at(NOW)).unwrap_err();
    assert_eq!(refused, InvalidTicket::UnknownKey);
}

#[test]
fn a_ticket_of_a_server_whose_clock_is_ahead_opens_one_stream() {
    let [ahead, auth] = [auth([secret_key(None)]), auth([secret_key(None)])];
    let access = ahead.authenticate(&token(&secret_key(None), &claims()), at(NOW + 60));
    let made = ahead.issue_ticket(&access.unwrap(), patterns(&["chat"]), at(NOW + 60));
    let ticket = made.unwrap();
    assert!(auth.redeem(&ticket, at(NOW)).is_ok());
    for (seconds, expected) in [
        (31, InvalidTicket::Used),
        (89, InvalidTicket::Used),
        (90, InvalidTicket::Expired),
    ] {
        let refused = auth.redeem(&ticket, at(NOW + seconds)).unwrap_err();
        assert_eq!(refused, expected, "{seconds}");
    }
}

#[test]
fn a_ticket_is_only_for_the_audience_of_its_server() {
    let audiences = [None, Some("a"), Some("b")];
    let auths =
        audiences.map(|audience| Auth::new(set([secret_key(None)]), audience.map(str::to_owned)));
    for (issuer, audience) in auths.iter().zip(audiences) {
        let mut claims = claims();
        if let Some(audience) = audience {
            claims["aud"] = json!(audience);
        }
        let access = issuer.authenticate(&token(&secret_key(None), &claims), at(NOW));
        let made = issuer.issue_ticket(&access.unwrap(), patterns(&["chat"]), at(NOW));
        let ticket = made.unwrap();
        for (auth, other) in auths.iter().zip(audiences) {
            let read = auth.redeem(&ticket, at(NOW)).map(drop);
            let expected = if audience == other {
                Ok(())
            } else {
                Err(InvalidTicket::Signature)
            };
            assert_eq!(read, expected, "{audience:?} {other:?}");
        }
    }
}

#[test]
fn the_stream_of_a_ticket_ends_when_the_secret_that_signed_it_is_gone() {
    // Whoever has the secret can make tickets in the name of every key.
    let public = || Key::secret(Some("other".into()), OTHER).unwrap();
    let auth = auth([public(), key("h", SECRET)]);
    let access = auth
        .authenticate(&token(&public(), &claims()), at(NOW))
        .unwrap();
    let made = auth.issue_ticket(&access, patterns(&["chat"]), at(NOW));
    let opened = auth.redeem(&made.unwrap(), at(NOW)).unwrap();
    // Another secret signs from now on, and the first one is still there.
    auth.replace(set([key("h", SECRET), public()]));
    assert!(!is_revoked(&opened) && !is_revoked(&access));
    auth.replace(set([public()]));
    assert!(is_revoked(&opened) && !is_revoked(&access));
}

#[test]
fn tickets_and_their_streams_go_on_over_a_change_of_keys() {
    let [old, new] = [|| key("old", SECRET), || key("new", OTHER)];
    let auth = auth([old()]);
    let access = |key: &Key| auth.authenticate(&token(key, &claims()), at(NOW)).unwrap();
    let open = |ticket: &str| auth.redeem(ticket, at(NOW)).unwrap();
    let of_old = access(&old());
    let (first, unused) = (ticket(&auth, &of_old), ticket(&auth, &of_old));
    let first = open(&first);
    auth.replace(set([old(), new()]));
    // Made before, used after.
    let second = open(&unused);
    let of_new = access(&new());
    let (third, unused) = (ticket(&auth, &of_new), ticket(&auth, &of_new));
    let third = open(&third);
    assert!(
        [&first, &second, &third]
            .iter()
            .all(|access| !is_revoked(access))
    );
    auth.replace(set([new()]));
    assert!(is_revoked(&first) && is_revoked(&second));
    assert!(!is_revoked(&third) && !is_revoked(&open(&unused)));
}

#[test]
fn the_streams_of_tickets_of_a_server_without_a_secret_go_on_when_it_gets_one() {
    let public = || super::super::pem::parse(&ES256.private).unwrap();
    let auth = auth([public()]);
    let access = auth.authenticate(&token(&public(), &claims()), at(NOW));
    let access = access.unwrap();
    let (open, unused) = (ticket(&auth, &access), ticket(&auth, &access));
    let open = auth.redeem(&open, at(NOW)).unwrap();
    auth.replace(set([public(), key("h", SECRET)]));
    let later = auth.redeem(&unused, at(NOW)).unwrap();
    assert!(!is_revoked(&open) && !is_revoked(&later));
}

#[test]
fn a_ticket_is_of_every_server_with_the_same_secret_and_of_one_without() {
    let issue = |auth: &Auth, key: &Key| {
        let access = auth.authenticate(&token(key, &claims()), at(NOW)).unwrap();
        let made = auth.issue_ticket(&access, patterns(&["chat"]), at(NOW));
        made.unwrap()
    };
    let [one, two] = [auth([secret_key(None)]), auth([secret_key(None)])];
    assert!(two.redeem(&issue(&one, &secret_key(None)), at(NOW)).is_ok());
    for pem in [&ES256.private, &EDDSA.private] {
        let key = super::super::pem::parse(pem).unwrap();
        let [one, two] = [auth([key.clone()]), auth([key.clone()])];
        let ticket = issue(&one, &key);
        let refused = two.redeem(&ticket, at(NOW)).unwrap_err();
        assert_eq!(refused, InvalidTicket::Signature);
        one.replace(set([key]));
        assert!(one.redeem(&ticket, at(NOW)).is_ok());
    }
}

#[test]
fn an_unused_access_is_forgotten_and_a_used_one_is_kept() {
    let keys = set([secret_key(None)]);
    let access = |number: u64| {
        let text = token(&secret_key(None), &json!({"exp": NOW + number}));
        let verified = verify(&text, &keys, None).unwrap();
        Access::new(verified.claims, verified.signer, [0; 16])
    };
    let hash = |number: u64| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    };
    let mut one = Cache::default();
    one.insert(hash(0), access(0), at(NOW));
    let mut cache = Cache::with_max_idle(10 * one.bytes());
    let used: Vec<_> = (0..50)
        .map(|number| cache.insert(hash(number), access(number), at(NOW)))
        .collect();
    for number in 50..1_000 {
        cache.insert(hash(number), access(number), at(NOW));
        assert!(cache.len() <= 10 + used.len(), "{}", cache.len());
    }
    for (number, access) in (0..).zip(&used) {
        assert!(Arc::ptr_eq(access, &cache.get(&hash(number)).unwrap()));
    }
    drop(used);
    (1_000..2_000).for_each(|number| drop(cache.insert(hash(number), access(number), at(NOW))));
    assert!(cache.len() <= 60, "{}", cache.len());
    let kept = (0..2_000).filter(|number| cache.get(&hash(*number)).is_some());
    let kept: Vec<_> = kept.collect();
    assert_eq!(cache.bytes(), kept.len() * one.bytes());
    kept.iter().for_each(|number| cache.remove(&hash(*number)));
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
}

#[test]
fn the_accesses_of_streams_that_have_ended_are_removed_within_a_minute() {
    let auth = auth([secret_key(None)]);
    let texts: Vec<_> = (0..40_u64)
        .map(|number| {
            token(
                &secret_key(None),
                &json!({"exp": 4_000_000_000_u64 + number}),
            )
        })
        .collect();
    let authenticate = |text: &String, time| auth.authenticate(text, at(time)).unwrap();
    let one = authenticate(&texts[0], NOW);
    let bytes = auth.lock().cache.bytes();
    auth.lock().cache = Cache::with_max_idle(4 * bytes);
    drop(one);
    let streams: Vec<_> = texts.iter().map(|text| authenticate(text, NOW)).collect();
    assert_eq!(auth.lock().cache.len(), 40);
    drop(streams);
    let left = |time| {
        authenticate(&texts[0], time);
        auth.lock().cache.len()
    };
    assert_eq!(left(NOW + 59), 40);
    assert_eq!(left(NOW + 60), 1);
    // The clock is set back.
    let streams: Vec<_> = texts
        .iter()
        .map(|text| authenticate(text, NOW + 61))
        .collect();
    drop(streams);
    assert_eq!(left(NOW - 3_600), 1);
}

#[test]
fn a_token_of_many_channels_takes_more_of_the_cache() {
    let keys = set([secret_key(None)]);
    let bytes = |channels: usize| {
        let channels: Vec<_> = (0..channels).map(|n| format!("c/{n:03}")).collect();
        let claims = json!({"exp": NOW, "subscribe": channels});
        let verified = verify(&token(&secret_key(None), &claims), &keys, None).unwrap();
        let mut cache = Cache::default();
        cache.insert(
            [0; 32],
            Access::new(verified.claims, verified.signer, [0; 16]),
            at(NOW),
        );
        cache.bytes()
    };
    assert!(bytes(0) >= 200, "{}", bytes(0));
    // At least the texts, twice.
    assert!(bytes(600) - bytes(0) >= 600 * 2 * 5);
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_replaced() {
    let auth = auth([secret_key(Some("a"))]);
    let text = token(&secret_key(Some("a")), &claims());
    let access = auth.authenticate(&text, at(NOW)).unwrap();
    let hub = Hub::in_memory();
    let mut stream = hub
        .subscribe("chat")
        .grant(access.grant())
        .resume_after(None);
    let waits = stream.next().now_or_never();
    assert!(waits.is_none());
    auth.replace(set([key("a", OTHER)]));
    let next = tidings_testkit::timeout::timeout(Duration::from_secs(60), stream.next());
    let events = next.await.unwrap().unwrap().unwrap().to_events();
    assert_eq!(events[0].event_type(), "closed");
    assert_eq!(events[0].text(), r#"{"reason":"revoked"}"#);
}

#[test]
fn debug_shows_neither_token_nor_secret() {
    let auth = auth([secret_key(None)]);
    let text = token(&secret_key(None), &claims());
    let access = auth.authenticate(&text, at(NOW)).unwrap();
    let ticket = auth.issue_ticket(&access, patterns(&["chat"]), at(NOW));
    let ticket = ticket.unwrap();
    let opened = auth.redeem(&ticket, at(NOW)).unwrap();
    let shown = format!("{auth:?} {access:?} {opened:?} {:#?}", secret_key(None));
    let secret = String::from_utf8(SECRET.to_vec()).unwrap();
    let bytes = format!("{SECRET:?}");
    let fingerprint = format!("{:?}", secret_key(None).fingerprint());
    for hidden in [&secret, &bytes, &fingerprint, &text, &ticket] {
        assert!(!shown.contains(hidden.trim_matches(['[', ']'])), "{shown}");
    }
}

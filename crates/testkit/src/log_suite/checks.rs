//! Laws of checks: a position names an entry, not only a number.

use tidings_hub::{Located, LogErrorKind, Place, Start};
use tidings_proto::Position;

use super::subject::{Subject, other_check};
use super::{Law, TEN, law};

pub(super) const LAWS: &[Law] = &[
    law!(a_place_with_another_check_is_unknown, TEN),
    law!(a_read_up_to_another_check_fails, TEN),
    law!(a_search_up_to_another_check_fails, TEN),
    law!(a_tail_from_another_check_fails, TEN),
];

/// Starts of each kind.
pub(super) const STARTS: &[Start] = &[
    Start::Earliest,
    Start::Time(0),
    Start::Last(3),
    Start::Skip { after: 6, to: 8 },
];

async fn a_place_with_another_check_is_unknown(log: Subject) {
    for other in others(&log).await {
        let located = log.locate(Start::After(Place::from(&other)), &["a"]).await;
        assert_eq!(located, Located::Unknown { last: 15 }, "{other}");
    }
}

async fn a_read_up_to_another_check_fails(log: Subject) {
    for other in others(&log).await {
        for channels in [&[][..], &["a"], &["a/*"]] {
            let page = log.read_to(&other, 5, 10, channels).await;
            assert_eq!(page, Err(LogErrorKind::Rewound { last: 15 }), "{other}");
        }
    }
}

async fn a_search_up_to_another_check_fails(log: Subject) {
    for other in others(&log).await {
        for start in STARTS {
            let located = log.locate_to(&other, *start, &["a"]).await;
            let rewound = LogErrorKind::Rewound { last: 15 };
            assert_eq!(located, Err(rewound), "{other} {start:?}");
        }
    }
}

async fn a_tail_from_another_check_fails(log: Subject) {
    for other in others(&log).await {
        let error = log.tail_from(&other).error().await;
        assert_eq!(error, LogErrorKind::Rewound { last: 15 }, "{other}");
    }
}

/// Positions with the numbers of the floor and of held entries, and with other checks.
async fn others(log: &Subject) -> Vec<Position> {
    log.fill(15).await;
    let mut others = Vec::new();
    for seq in [5, 6, 10, 15] {
        let position = log.position(seq).await;
        let check = other_check(position.check);
        others.push(Position { check, ..position });
    }
    others
}

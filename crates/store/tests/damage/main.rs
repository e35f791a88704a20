//! A store of which bytes are wrong or missing: it answers as before, or fails. It never shows anything else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod answers;
mod reading;
mod scene;

use std::fs;
use std::path::Path;

use fastrand::Rng;
use tidings_store::{Salvaged, check, export, salvage};
use tidings_testkit::property;

use scene::{ENTRIES, Scene};

/// How many bytes are changed, one after the other, unless `TIDINGS_TEST_STEPS` is set.
const FLIPS: usize = 300;

/// The text of an export, if it succeeds.
fn exported(path: &Path) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    export(path, &mut lines).ok().map(|_| lines)
}

#[test]
fn a_flipped_byte_is_found_by_the_check_or_changes_nothing() {
    let scene = Scene::imported();
    let expected = exported(&scene.path).unwrap();
    let (mut found, mut harmless, mut lost) = (0, 0, Vec::new());
    for (at, mask) in scene.flips(property::steps(FLIPS)) {
        let copy = scene.flipped(at, mask);
        let is_sound = check(&copy).is_ok_and(|report| report.is_sound());
        let exported = exported(&copy);
        if is_sound {
            harmless += 1;
            assert_eq!(
                exported.as_deref(),
                Some(&expected[..]),
                "byte {at} xor {mask}"
            );
        } else {
            found += 1;
            let is_right = exported.is_none_or(|lines| lines == expected);
            assert!(is_right, "byte {at} xor {mask} changes the export");
        }
        lost.push(check_salvage(&copy, &expected));
    }
    lost.sort();
    let [half, most] = [lost[lost.len() / 2], lost[lost.len() * 9 / 10]];
    println!(
        "a salvage loses {half} of {ENTRIES} entries in half of the cases, and {most} in 9 of 10"
    );
    assert!(half <= 1 && most < ENTRIES / 4);
    println!("{found} flips were found, {harmless} changed nothing");
    assert!(found > harmless);
}

/// Salvages a store. Returns how many entries are lost.
fn check_salvage(path: &Path, expected: &[u8]) -> u64 {
    let mut lines = Vec::new();
    let Ok(salvaged) = salvage(path, &mut lines) else {
        return ENTRIES;
    };
    let mut rest = expected.split_inclusive(|&byte| byte == b'\n');
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        // The lines that are left are in their order.
        assert!(
            rest.any(|expected| expected == line),
            "{}",
            line.escape_ascii()
        );
    }
    let Salvaged { entries, lost, .. } = salvaged;
    let really = ENTRIES - entries;
    assert!(lost <= really);
    really
}

#[test]
fn a_store_that_is_cut_off_is_refused() {
    let scene = Scene::imported();
    let expected = exported(&scene.path).unwrap();
    let whole = fs::metadata(&scene.path).unwrap().len();
    let mut rng = Rng::with_seed(property::seed());
    let pages = (0..whole).step_by(4_096);
    let lengths = pages.chain(std::iter::repeat_with(|| rng.u64(0..whole)).take(30));
    for length in lengths.chain([1, 15, 16, 99, 100, whole - 1]) {
        let copy = scene.cut(length);
        assert!(exported(&copy).is_none(), "{length} bytes");
        assert!(
            !check(&copy).is_ok_and(|report| report.is_sound()),
            "{length} bytes"
        );
        check_salvage(&copy, &expected);
    }
}

//! `Listed`: the channels that the sender of a request may list, in pages.

use std::cmp::max;

use tidings::hub::{
    ChannelName, ChannelState, ChannelStatus, Hub, LogError, MAX_NAME_BYTES, Pattern,
};

/// The channels of these patterns, or all.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    pub(super) hub: &'a Hub,
    /// Disjoint, and in the order of their texts, which is that of their channels.
    pub(super) patterns: Option<&'a [Pattern]>,
}

impl Listed<'_> {
    /// Up to `limit` channels after this name, in the order of their names.
    pub(super) async fn page(
        &self,
        after: Option<&ChannelName>,
        limit: usize,
    ) -> Result<Vec<ChannelState>, LogError> {
        let Some(patterns) = self.patterns else {
            return self.hub.channels(after, limit).await;
        };
        let mut page = Vec::new();
        for pattern in patterns {
            if page.len() == limit {
                break;
            }
            match pattern.as_channel() {
                Some(name) if after.is_some_and(|after| name <= after) => {}
                Some(name) => page.extend(self.one(name).await?),
                None => page.extend(self.below(pattern, after, limit - page.len()).await?),
            }
        }
        Ok(page)
    }

    /// The channel, if the server knows it.
    async fn one(&self, name: &ChannelName) -> Result<Option<ChannelState>, LogError> {
        let Ok(channel) = self.hub.channel(name) else {
            unreachable!("a channel name is valid")
        };
        let state = channel.state().await?;
        Ok(Some(state).filter(|state| state.status != ChannelStatus::Unknown))
    }

    /// Up to `limit` channels of a pattern with `/*`. They follow each other in the order of all channels.
    async fn below(
        &self,
        pattern: &Pattern,
        after: Option<&ChannelName>,
        limit: usize,
    ) -> Result<Vec<ChannelState>, LogError> {
        let begin = before(pattern);
        let begin = after.map_or(&begin, |after| max(after, &begin));
        let page = self.hub.channels(Some(begin), limit).await?;
        let states = page.into_iter();
        Ok(states
            .take_while(|state| pattern.matches(&state.name))
            .collect())
    }
}

/// The last name before all names that begin with the name of the pattern and `/`: `.` precedes `/`, and `~`
/// is the last sign of a name.
fn before(pattern: &Pattern) -> ChannelName {
    let name = pattern.name();
    let mut text = String::with_capacity(MAX_NAME_BYTES);
    text.push_str(name);
    if name.len() < MAX_NAME_BYTES {
        text.push('.');
        text.extend(std::iter::repeat_n('~', MAX_NAME_BYTES - text.len()));
    }
    ChannelName::new(&text).unwrap_or_else(|_| unreachable!("the name of a pattern is valid"))
}

#[cfg(test)]
mod tests {
    use tidings::hub::Event;

    use super::*;

    async fn hub() -> Hub {
        let hub = Hub::in_memory();
        let longest = format!("a.{}", "~".repeat(MAX_NAME_BYTES - 2));
        for name in [
            "0", "a", "a-", "a-b", "a.", "a.~", &longest, "a/-", "a/b", "a/b/c", "a/~", "a0", "a:",
            "aa", "b", "b/a", "c", "c/d/e", "c/d/f", "c/e",
        ] {
            hub.publish(name, Event::new("x")).await.unwrap();
        }
        hub
    }

    /// The listed names, read in pages of this size.
    async fn names(hub: &Hub, patterns: &[&str], size: usize) -> Vec<String> {
        let patterns: Vec<_> = patterns
            .iter()
            .map(|text| Pattern::new(text).unwrap())
            .collect();
        let patterns: Vec<_> = Pattern::disjoint(&patterns).into_iter().cloned().collect();
        let listed = Listed {
            hub,
            patterns: Some(&patterns),
        };
        let mut names = Vec::new();
        let mut after: Option<ChannelName> = None;
        loop {
            let page = listed.page(after.as_ref(), size).await.unwrap();
            assert!(page.len() <= size);
            let Some(last) = page.last() else {
                return names;
            };
            after = Some(last.name.clone());
            names.extend(page.iter().map(|state| state.name.to_string()));
        }
    }

    #[tokio::test]
    async fn exactly_the_channels_of_the_patterns_are_listed_in_pages_of_any_size() {
        let hub = hub().await;
        let all = hub.channels(None, 1_000).await.unwrap();
        for texts in [
            &[][..],
            &["a"],
            &["a/*"],
            &["a", "a/*"],
            &["a-b", "a/*", "a0"],
            &["a.", "a/b/*", "missing"],
            &["b", "c/d/*", "0"],
            &["c/*", "a/*", "zz/*"],
        ] {
            let patterns: Vec<_> = texts
                .iter()
                .map(|text| Pattern::new(text).unwrap())
                .collect();
            let expected: Vec<_> = all
                .iter()
                .filter(|state| patterns.iter().any(|pattern| pattern.matches(&state.name)))
                .map(|state| state.name.to_string())
                .collect();
            for size in [1, 2, 3, 1_000] {
                assert_eq!(names(&hub, texts, size).await, expected, "{texts:?} {size}");
            }
        }
    }

    #[test]
    fn the_longest_names_have_a_place_before_them() {
        for bytes in [1, 253, 254, 255] {
            let name = "a".repeat(bytes);
            let place = before(&Pattern::new(format!("{name}/*")).unwrap());
            assert!(place >= ChannelName::new(&name).unwrap());
            assert!(place.as_str() < &*format!("{name}/"));
        }
    }
}

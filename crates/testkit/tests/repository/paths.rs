//! Paths as text, with `/` between names.

/// Whether `pattern` is `path` or a folder above it; a `*` is any text within one name.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let mut names = path.split('/');
    pattern.split('/').all(|wanted| {
        names
            .next()
            .is_some_and(|name| match wanted.split_once('*') {
                None => wanted == name,
                Some((start, end)) => {
                    name.len() >= start.len() + end.len()
                        && name.starts_with(start)
                        && name.ends_with(end)
                }
            })
    })
}

/// `a{b,c}d` as `abd` and `acd`.
pub(crate) fn alternatives(word: &str) -> Vec<String> {
    let braces = word
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (choices, after))) = braces else {
        return vec![word.to_owned()];
    };
    choices
        .split(',')
        .flat_map(|choice| alternatives(&format!("{before}{choice}{after}")))
        .collect()
}

pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `None` if the path leaves the repository.
pub(crate) fn join(folder: &str, path: &str) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in folder.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    Some(names.join("/"))
}

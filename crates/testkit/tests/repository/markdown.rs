//! The parts of Markdown that the checks of links and names need.

pub(crate) struct Line<'a> {
    pub(crate) number: usize,
    pub(crate) text: &'a str,
    /// The language of the fenced block that the line is in.
    pub(crate) block: Option<&'a str>,
}

/// The lines of a document, without the fences of code blocks.
pub(crate) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut block = None;
    let mut lines = Vec::new();
    for (number, text) in (1..).zip(text.lines()) {
        match (text.trim_start().strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language.trim()),
            (Some(_), Some(_)) => block = None,
            (None, _) => lines.push(Line {
                number,
                text,
                block,
            }),
        }
    }
    lines
}

/// Targets of `[text](target)` and `[name]: target`.
pub(crate) fn links(text: &str) -> Vec<&str> {
    let inline = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next());
    let definition = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .and_then(|(_, target)| target.split(' ').next());
    inline.chain(definition).collect()
}

/// The anchors that GitHub gives to a text's headings.
pub(crate) fn headings(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for line in lines(text) {
        let title = line.text.trim_start_matches('#');
        if line.block.is_some() || title.len() == line.text.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        let anchor = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-");
        let before = seen.iter().filter(|other| **other == anchor).count();
        anchors.push(if before == 0 {
            anchor.clone()
        } else {
            format!("{anchor}-{before}")
        });
        seen.push(anchor);
    }
    anchors
}

//! JSON over several lines, with every number and every name as it was sent.

use serde::de::IgnoredAny;

/// The spaces of one level.
const LEVEL: &str = "  ";

/// The JSON with line breaks and indentation. `None` if it is no object, no array, or not JSON.
///
/// It is not read into values, which would sort the names and round the numbers.
pub(super) fn indented(json: &str) -> Option<String> {
    let is_nested = json.trim_start().starts_with(['{', '[']);
    if !is_nested || serde_json::from_str::<IgnoredAny>(json).is_err() {
        return None;
    }
    let mut indented = Indented::default();
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_ascii_whitespace() && !indented.is_in_string {
            continue;
        }
        if matches!(character, '{' | '[') && !indented.is_in_string {
            while characters.next_if(char::is_ascii_whitespace).is_some() {}
            if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                indented.text.extend([character, end]);
                continue;
            }
        }
        indented.push(character);
    }
    Some(indented.text)
}

#[derive(Default)]
struct Indented {
    text: String,
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
}

impl Indented {
    fn push(&mut self, character: char) {
        if self.is_in_string {
            self.is_in_string = self.is_escaped || character != '"';
            self.is_escaped = character == '\\' && !self.is_escaped;
            self.text.push(character);
            return;
        }
        match character {
            '{' | '[' => {
                self.text.push(character);
                self.depth += 1;
                self.break_line();
            }
            '}' | ']' => {
                self.depth -= 1;
                self.break_line();
                self.text.push(character);
            }
            ',' => {
                self.text.push(character);
                self.break_line();
            }
            ':' => self.text.push_str(": "),
            _ => {
                self.is_in_string = character == '"';
                self.text.push(character);
            }
        }
    }

    fn break_line(&mut self) {
        self.text.push('\n');
        self.text.push_str(&LEVEL.repeat(self.depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_as_it_is() {
        for (json, expected) in [
            (
                r#"{"b":1.50,"a":[1e400,"x"]}"#,
                "{\n  \"b\": 1.50,\n  \"a\": [\n    1e400,\n    \"x\"\n  ]\n}",
            ),
            (r#" [ { } , [ ] ] "#, "[\n  {},\n  []\n]"),
            (
                r#"["a\"{,:}\\","]"]"#,
                "[\n  \"a\\\"{,:}\\\\\",\n  \"]\"\n]",
            ),
            (r#"{"a b":null}"#, "{\n  \"a b\": null\n}"),
        ] {
            assert_eq!(indented(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn other_text_is_not_indented() {
        for text in ["", "17", "\"{}\"", "{", "[1,]", "[hello]", "{} {}"] {
            assert_eq!(indented(text), None, "{text}");
        }
    }
}

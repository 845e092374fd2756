//! text-stats is a tool that counts: bytes, characters, words, lines and sentences
//! of a text, and the longest word's characters.
//!
//! A word is a run of characters other than white space; a sentence ends with a run
//! of . ! ? before white space, of the characters of other scripts that do the same,
//! or with the text. A line ends with a line feed, or with the text. White space is
//! ASCII's, no-break space, U+2000 to U+200A, U+2028, U+2029 and U+3000.
//!
//! It asks for no capability.

use hexdag::{fail, proceed, Outcome, ToolCall};

hexdag::tool_call!(text_stats);

fn text_stats(c: &ToolCall) -> Outcome {
    if c.tool() != "text_stats" {
        return fail("no_tool", "the only tool is text_stats");
    }
    let text = match c.args().text("/text") {
        Some(text) => text,
        None => return fail("bad_arguments", "text must be a string"),
    };
    let n = Counts::of(&text);
    let result = c.result();
    result.set_int("/bytes", text.len() as i64)?;
    result.set_int("/characters", n.characters)?;
    result.set_int("/words", n.words)?;
    result.set_int("/lines", n.lines)?;
    result.set_int("/sentences", n.sentences)?;
    result.set_int("/longest_word", n.longest)?;
    proceed()
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    characters: i64,
    words: i64,
    lines: i64,
    sentences: i64,
    longest: i64,
}

/// Where a sentence is.
#[derive(Clone, Copy, PartialEq)]
enum Sentence {
    None,
    Open,
    /// After . ! ?, which end it if white space follows: 3.14 goes on.
    MayEnd,
    Ended,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut n = Counts::default();
        let (mut word, mut sentence, mut last) = (0, Sentence::None, '\n');
        for c in text.chars() {
            let space = is_space(c);
            n.characters += 1;
            n.lines += i64::from(c == '\n');
            if space {
                word = 0;
            } else {
                n.words += i64::from(word == 0);
                word += 1;
                n.longest = n.longest.max(word);
            }
            sentence = match (sentence, ends_sentence(c)) {
                (Sentence::None, true) => Sentence::None,
                (_, true) if c.is_ascii() => Sentence::MayEnd,
                (_, true) => Sentence::Ended,
                (before, false) => {
                    let ended = before == Sentence::Ended || before == Sentence::MayEnd && space;
                    n.sentences += i64::from(ended);
                    match (space, ended || before == Sentence::None) {
                        (true, true) => Sentence::None,
                        _ => Sentence::Open,
                    }
                }
            };
            last = c;
        }
        n.sentences += i64::from(sentence != Sentence::None);
        n.lines += i64::from(last != '\n');
        n
    }
}

fn is_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{3000}')
}

fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '。' | '！' | '？' | '؟' | '।')
}

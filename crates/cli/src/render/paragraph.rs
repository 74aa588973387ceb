//! Wraps lists of short phrases, separated by commas.

/// The phrases after `lead`, with further lines aligned below the first phrase. A phrase that is
/// too long for a line gets a line of its own.
pub(crate) fn paragraph(lead: &str, phrases: &[String], columns: Option<usize>) -> Vec<String> {
    let indent = lead.chars().count();
    let mut lines = vec![lead.to_owned()];
    let mut filled = indent;
    for (number, phrase) in phrases.iter().enumerate() {
        let comma = if number + 1 < phrases.len() { "," } else { "" };
        let len = phrase.chars().count() + comma.len();
        let is_first = filled == indent;
        if !is_first && columns.is_some_and(|columns| filled + 1 + len > columns) {
            lines.push(" ".repeat(indent));
            filled = indent;
        }
        let line = lines.last_mut().expect("it begins with one and only grows");
        if filled > indent {
            line.push(' ');
            filled += 1;
        }
        line.push_str(phrase);
        line.push_str(comma);
        filled += len;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn phrases_that_do_not_fit_stand_below_the_first() {
        let text = phrases("one two three four");
        assert_eq!(paragraph("n  ", &text, None), ["n  one, two, three, four"]);
        assert_eq!(paragraph("n  ", &text, Some(24)), ["n  one, two, three, four"]);
        assert_eq!(paragraph("n  ", &text, Some(23)), ["n  one, two, three,", "   four"]);
        assert_eq!(
            paragraph("n  ", &text, Some(1)),
            ["n  one,", "   two,", "   three,", "   four"]
        );
    }

    #[test]
    fn nothing_to_say_is_the_lead_alone() {
        assert_eq!(paragraph("  ", &[], Some(3)), ["  "]);
    }
}

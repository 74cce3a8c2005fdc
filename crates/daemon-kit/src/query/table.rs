//! A table that fits a screen of 100 columns.

use comfy_table::{ContentArrangement, Table, presets};

use crate::logging::Escaped;

/// How wide a table may be, in columns of the screen.
pub const WIDTH: u16 = 100;

/// A column: its head and the most columns of the screen that it takes. What is longer is cut, and ends in `…`.
pub type Column = (&'static str, u16);

/// A line of a table, and what is to be said of it on a line of its own below.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// A text for each column. Whatever a guest put into it, it stays one line.
    pub cells: Vec<String>,
    /// What is below it, indented; cut where the table ends.
    pub remark: Option<String>,
}

/// Lays the lines out, with one blank between two columns.
#[must_use]
pub fn table(columns: &[Column], lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(head, _)| *head));
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    for line in lines {
        let cells = line.cells.iter().zip(columns);
        table.add_row(cells.map(|(cell, (_, most))| cut(&one_line(cell), usize::from(*most))));
    }
    let remarks = std::iter::once(None).chain(lines.iter().map(|line| line.remark.as_deref()));
    let mut text = String::new();
    for (row, remark) in table.lines().zip(remarks) {
        text.push_str(row.trim_end());
        text.push('\n');
        if let Some(remark) = remark {
            text.push_str(&cut(&format!("    {}", one_line(remark)), usize::from(WIDTH)));
            text.push('\n');
        }
    }
    text
}

fn one_line(text: &str) -> String {
    Escaped(text).to_string()
}

/// As many characters as fit into so many columns; wide ones count as two.
fn cut(text: &str, columns: usize) -> String {
    use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    const COLUMNS: [Column; 3] = [("NAME", 14), ("UUID", 36), ("STATE", 12)];

    fn line(name: &str, remark: Option<&str>) -> Line {
        let uuid = "8d80875b-6cb8-4f2b-8d3c-5ab1e9d8f0c1";
        Line {
            cells: vec![name.into(), uuid.into(), "heartbeating".into()],
            remark: remark.map(Into::into),
        }
    }

    #[test]
    fn columns_are_aligned_and_remarks_are_below_their_line() {
        let text = table(&COLUMNS, &[line("vm-one", None), line("vm-two", Some("lost 3m ago"))]);
        assert_eq!(
            text,
            "NAME   UUID                                 STATE\n\
             vm-one 8d80875b-6cb8-4f2b-8d3c-5ab1e9d8f0c1 heartbeating\n\
             vm-two 8d80875b-6cb8-4f2b-8d3c-5ab1e9d8f0c1 heartbeating\n    lost 3m ago\n"
        );
        assert_eq!(table(&COLUMNS, &[]), "NAME UUID STATE\n");
    }

    #[test]
    fn what_a_guest_calls_itself_breaks_nothing() {
        let remark = "x\u{1b}[2J".repeat(100);
        for name in
            ["", "\n\n\n", "\u{1b}[2J", &"n".repeat(64), &"名".repeat(21), "a b  c", "e\u{301}"]
        {
            let text = table(&COLUMNS, &[line(name, Some(&remark)), line("vm-two", None)]);
            assert_eq!(text.lines().count(), 4, "{text}");
            assert!(text.lines().all(|line| line.width() <= 100), "{text}");
            assert!(
                text.contains(" 8d80875b-6cb8-4f2b-8d3c-5ab1e9d8f0c1 heartbeating\n"),
                "{text}"
            );
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        let long = table(&COLUMNS, &[line(&"n".repeat(64), None)]);
        assert!(long.contains("\nnnnnnnnnnnnnn… 8d80"), "{long}");
    }
}

//! Rows of text in columns that line up.

/// The rows with every column as wide as its widest cell, two spaces apart, no spaces at line ends.
/// Columns named in `right` are aligned to the right, as numbers are read.
pub(crate) fn aligned(rows: &[Vec<String>], right: &[usize]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if right.contains(&column) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters_not_bytes() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = aligned(&[row(["name", "size", "end"]), row(["ä", "10", "x"])], &[1]);
        assert_eq!(lines, ["name  size  end", "ä       10  x"]);
    }

    #[test]
    fn short_rows_and_no_rows_are_fine() {
        assert!(aligned(&[], &[0]).is_empty());
        assert_eq!(
            aligned(&[vec!["a".into()], vec!["bb".into(), "c".into()]], &[]),
            ["a", "bb  c"]
        );
    }
}

//! Rows of text whose columns stand one below the other.
//!
//! Callers: the commands of `cli` that list something.

/// A table, its last column not filled up; nothing where there are no rows. A list that comes in pages has its heads before
/// the first one, and leaves room for them in all.
pub(super) fn lined_up<const COLUMNS: usize>(
    heads: [&str; COLUMNS],
    with_heads: bool,
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let mut widths = heads.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head = (with_heads && !rows.is_empty()).then(|| heads.map(str::to_owned));
    let line = |row: [String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    head.into_iter().chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_one_below_the_other_and_pages_go_on_with_them() {
        let rows = || [["zoë", "a"], ["bo", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(lined_up(["NAME", "X"], true, rows()), "NAME  X\nzoë   a\nbo\n");
        assert_eq!(lined_up(["NAME", "X"], false, rows()), "zoë   a\nbo\n");
        assert_eq!(lined_up(["NAME", "X"], true, []), "");
    }
}

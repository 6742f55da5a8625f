//! Plain tables: texts to the left, numbers to the right.

/// Rows of equal length, the first of them the heading.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    numbers: bool,
}

impl Table {
    /// A table with these columns: names, then numbers.
    pub fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|&text| text.to_owned()).collect()], numbers: true }
    }

    /// A table with these columns, all of them texts.
    pub fn left(heading: &[&str]) -> Self {
        Self { numbers: false, ..Self::new(heading) }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as lines, each ended.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ if self.numbers => format!("  {cell:>width$}"),
                _ => format!("  {cell:<width$}"),
            });
            let line: String = cells.collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_left_and_numbers_right() {
        let mut table = Table::new(&["port", "sent"]);
        table.row(vec!["emulated:0".to_owned(), "1,000".to_owned()]);
        table.row(vec!["b".to_owned(), "7".to_owned()]);
        assert_eq!(table.render(), "port         sent\nemulated:0  1,000\nb               7\n");
    }
}

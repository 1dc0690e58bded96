//! Pages: where each block of a document stands.
//!
//! 1. Blocks are laid out from top to bottom; a table that does not fit goes on on the next page, below its heads again.
//! 2. When all pages are there, each gets its head, and its foot with the QR code, the hash, and "page n of m".

use super::canvas::{Canvas, Length, POINT, Style, wrapped};
use super::content::{Block, Document, Row, Table, provenance};
use super::reference::Payload;

/// A4.
pub const PAGE: (Length, Length) = (59_528, 84_189);

/// Left and right of everything.
const MARGIN: Length = 42 * POINT;
/// What is left between them.
const WIDTH: Length = PAGE.0 - 2 * MARGIN;
/// Where blocks begin.
const TOP: Length = PAGE.1 - 84 * POINT;
/// Where they end: above the foot.
const BOTTOM: Length = 112 * POINT;
/// Side of the QR code, its quiet zone included.
pub const CODE_SIDE: Length = 72 * POINT;
/// Lower left corner of the QR code.
const CODE_CORNER: (Length, Length) = (MARGIN - 4 * POINT, 28 * POINT);

const BODY: Style = Style::regular(8 * POINT);
const BODY_BOLD: Style = Style::bold(8 * POINT);
const HEADING: Style = Style::bold(10 * POINT);
const SMALL: Style = Style::regular(625);
/// From one line of a block to the next.
const LEADING: Length = 1_020;
/// Above and below the lines of a row, and beside its cells.
const PADDING: Length = 250;
/// What a column of texts keeps when numbers need more.
const TEXT_WIDTH_MIN: Length = 60 * POINT;
/// Name of a pair.
const NAME_WIDTH: Length = 92 * POINT;

/// Pages one after the other.
struct Pages {
    done: Vec<Canvas>,
    page: Canvas,
    /// Where the next block begins.
    y: Length,
}

impl Pages {
    fn turn(&mut self) {
        self.done.push(std::mem::replace(&mut self.page, Canvas::new()));
        self.y = TOP;
    }

    fn is_at_top(&self) -> bool {
        self.y == TOP
    }

    /// Turns the page unless so much is left of it.
    fn need(&mut self, height: Length) {
        if self.y - height < BOTTOM && !self.is_at_top() {
            self.turn();
        }
    }

    fn pairs(&mut self, pairs: &[(String, String)]) {
        let half = WIDTH / 2;
        for two in pairs.chunks(2) {
            let cells: Vec<_> = two
                .iter()
                .map(|(name, value)| {
                    (
                        wrapped(name, BODY, NAME_WIDTH - PADDING),
                        wrapped(value, BODY_BOLD, half - NAME_WIDTH - 2 * PADDING),
                    )
                })
                .collect();
            let lines = cells.iter().map(|(name, value)| name.len().max(value.len())).max().unwrap_or(0);
            for line in 0..lines {
                self.need(LEADING);
                let base = self.y - 800;
                for (column, (name, value)) in cells.iter().enumerate() {
                    let x = MARGIN + column as Length * half;
                    if let Some(name) = name.get(line) {
                        self.page.text(x, base, BODY, name);
                    }
                    if let Some(value) = value.get(line) {
                        self.page.text(x + NAME_WIDTH, base, BODY_BOLD, value);
                    }
                }
                self.y -= LEADING;
            }
            self.y -= PADDING;
        }
        self.y -= 2 * PADDING;
    }

    /// `below` is what of the next block stands on the same page.
    fn heading(&mut self, text: &str, below: Length) {
        self.need(PADDING + wrapped(text, HEADING, WIDTH).len() as Length * (LEADING + 2 * PADDING) + below);
        self.y -= PADDING;
        for line in wrapped(text, HEADING, WIDTH) {
            self.page.text(MARGIN, self.y - 1_000, HEADING, line);
            self.y -= LEADING + 2 * PADDING;
        }
    }

    fn sentences(&mut self, text: &str) {
        for line in wrapped(text, BODY, WIDTH) {
            self.need(LEADING);
            self.page.text(MARGIN, self.y - 800, BODY, line);
            self.y -= LEADING;
        }
        self.y -= 2 * PADDING;
    }

    fn table(&mut self, table: &Table) {
        let grid = Grid::of(table);
        let heads = heads_of(table);
        let head_lines = grid.lines(&heads);
        self.need(grid.beginning());
        self.rows(&grid, &head_lines, &heads, true);
        for row in &table.rows {
            let lines = grid.lines(row);
            if self.y - Grid::height(&lines) < BOTTOM {
                self.turn();
                self.rows(&grid, &head_lines, &heads, true);
            }
            self.rows(&grid, &lines, row, false);
        }
        self.y -= 4 * PADDING;
    }

    /// Draws a row; one that is higher than a page goes on on the next.
    fn rows(&mut self, grid: &Grid<'_>, lines: &[Vec<&str>], row: &Row, is_head: bool) {
        let count = lines.iter().map(Vec::len).max().unwrap_or(0);
        let mut first = 0;
        while first < count {
            let fitting = ((self.y - BOTTOM - 2 * PADDING) / LEADING).max(1) as usize;
            let end = count.min(first + fitting);
            let height = (end - first) as Length * LEADING + 2 * PADDING;
            if is_head {
                self.page.fill((MARGIN, self.y - height), (WIDTH, height), 900);
            }
            let style = if row.is_bold { BODY_BOLD } else { BODY };
            for (place, cell) in lines.iter().enumerate() {
                let (left, right) = (grid.edges[place] + PADDING, grid.edges[place + 1] - PADDING);
                for (line, text) in cell.iter().take(end).skip(first).enumerate() {
                    let base = self.y - PADDING - 800 - line as Length * LEADING;
                    if grid.table.columns[place].is_right {
                        self.page.text_to(right, base, style, text);
                    } else {
                        self.page.text(left, base, style, text);
                    }
                }
            }
            self.y -= height;
            if !is_head {
                self.page.fill((MARGIN, self.y), (WIDTH, 25), 800);
            }
            first = end;
            if first < count {
                self.turn();
            }
        }
    }
}

/// A table with the places of its columns' edges.
struct Grid<'t> {
    table: &'t Table,
    edges: Vec<Length>,
}

fn heads_of(table: &Table) -> Row {
    Row::bold(table.columns.iter().map(|column| column.title.clone()).collect())
}

impl Grid<'_> {
    /// Columns by their shares; one of numbers, which are never broken, is as wide as its longest if it must be, and
    /// the widest one of texts gives what that needs.
    fn of(table: &Table) -> Grid<'_> {
        let shares: u32 = table.columns.iter().map(|column| column.share).sum();
        let edge = |before: u32| (i64::from(WIDTH) * i64::from(before) / i64::from(shares.max(1))) as Length;
        let mut before = 0;
        let mut widths: Vec<Length> = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            widths.push(edge(before + column.share) - edge(before));
            before += column.share;
        }
        for place in (0..widths.len()).filter(|place| table.columns[*place].is_right) {
            let cells = table.rows.iter().filter_map(|row| row.cells.get(place));
            let longest = cells.max_by_key(|cell| cell.len()).map_or(0, |cell| BODY_BOLD.width(cell));
            let lacking = longest + 2 * PADDING + 1 - widths[place];
            let texts = (0..widths.len()).filter(|other| !table.columns[*other].is_right);
            let giver = texts.max_by_key(|other| widths[*other]);
            if let Some(giver) = giver.filter(|giver| lacking > 0 && widths[*giver] - lacking >= TEXT_WIDTH_MIN) {
                widths[giver] -= lacking;
                widths[place] += lacking;
            }
        }
        let mut edges = vec![MARGIN];
        edges.extend(widths.iter().scan(MARGIN, |edge, width| {
            *edge += width;
            Some(*edge)
        }));
        Grid { table, edges }
    }

    /// What of it stands together: its heads and its first row, or as much of that as is worth while.
    fn beginning(&self) -> Length {
        let first = self.table.rows.first().map_or(0, |row| Grid::height(&self.lines(row)));
        Grid::height(&self.lines(&heads_of(self.table))) + first.clamp(3 * LEADING, 12 * LEADING)
    }

    /// The lines of each cell of a row; a cell without a column is left out.
    fn lines<'r>(&self, row: &'r Row) -> Vec<Vec<&'r str>> {
        let style = if row.is_bold { BODY_BOLD } else { BODY };
        let widths = self.edges.windows(2).map(|edge| edge[1] - edge[0] - 2 * PADDING);
        row.cells.iter().zip(widths).map(|(cell, width)| wrapped(cell, style, width)).collect()
    }

    fn height(lines: &[Vec<&str>]) -> Length {
        let count = lines.iter().map(Vec::len).max().unwrap_or(0);
        count as Length * LEADING + 2 * PADDING
    }
}

/// The pages of a document. What no font has must have been replaced before.
#[must_use]
pub fn pages(document: &Document, payload: &Payload) -> Vec<Canvas> {
    let mut pages = Pages { done: Vec::new(), page: Canvas::new(), y: TOP };
    for (place, block) in document.blocks.iter().enumerate() {
        match block {
            Block::Pairs(pairs) => pages.pairs(pairs),
            Block::Heading(text) => {
                let below = match document.blocks.get(place + 1) {
                    Some(Block::Table(table)) => Grid::of(table).beginning(),
                    _ => 3 * LEADING,
                };
                pages.heading(text, below);
            }
            Block::Text(text) => pages.sentences(text),
            Block::Table(table) => pages.table(table),
        }
    }
    pages.turn();
    let count = pages.done.len();
    for (place, page) in pages.done.iter_mut().enumerate() {
        head(page, document);
        foot(page, payload, place + 1, count);
        page.finish();
    }
    pages.done
}

fn head(page: &mut Canvas, document: &Document) {
    let (lender, title) = (Style::bold(13 * POINT), Style::regular(11 * POINT));
    // Whoever has a long name has it on one line nevertheless: smaller.
    let wide = lender.width(&document.lender).max(1);
    let size = if wide > WIDTH {
        (i64::from(lender.size) * i64::from(WIDTH) / i64::from(wide)) as Length
    } else {
        lender.size
    };
    page.text(MARGIN, PAGE.1 - 46 * POINT, Style { size, ..lender }, &document.lender);
    page.text(MARGIN, PAGE.1 - 62 * POINT, title, &document.title);
    page.fill((MARGIN, PAGE.1 - 70 * POINT), (WIDTH, 80), 0);
}

fn foot(page: &mut Canvas, payload: &Payload, number: usize, count: usize) {
    page.fill((MARGIN, BOTTOM - 8 * POINT), (WIDTH, 40), 0);
    page.form(CODE_CORNER.0, CODE_CORNER.1, "Code");
    let x = CODE_CORNER.0 + CODE_SIDE + 4 * POINT;
    let mut y = CODE_CORNER.1 + CODE_SIDE - 14 * POINT;
    let [hash, books] = provenance(payload);
    for text in [hash.as_str(), books.as_str(), "Whoever doubts this page: munim verify document FILE"] {
        for line in wrapped(text, SMALL, PAGE.0 - MARGIN - x) {
            page.text(x, y, SMALL, line);
            y -= 850;
        }
    }
    page.text_to(PAGE.0 - MARGIN, CODE_CORNER.1 + 8 * POINT, BODY, &format!("Page {number} of {count}"));
}

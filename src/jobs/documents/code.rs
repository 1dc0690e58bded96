//! The QR code of a document, as squares.

use qrcode::bits::Bits;
use qrcode::canvas::{Canvas as Grid, MaskPattern};
use qrcode::ec::construct_codewords;
use qrcode::{Color, EcLevel, Version};

use super::canvas::{Canvas, Length};

/// Light modules around the code, as the standard wants them.
const QUIET: usize = 4;

const LEVEL: EcLevel = EcLevel::M;

/// A text as a QR code of a side, its quiet zone included, with its lower left corner at zero. Level M: a seventh of
/// it may be lost.
///
/// Of the eight masks the standard takes the one that looks most even, which costs ten times what all else does. A
/// payload is mostly hashes, which are even already; readers read whichever mask the code names.
///
/// `None` for a text that no code holds: more than 2,331 bytes.
#[must_use]
pub fn code(text: &str, side: Length) -> Option<Vec<u8>> {
    let (width, colors) = modules(text)?;
    let mut canvas = Canvas::default();
    canvas.scale(side, width + 2 * QUIET);
    for (row, line) in colors.chunks(width).enumerate() {
        let bottom = (width + QUIET - row - 1) as Length;
        // Dark modules side by side are one rectangle: no hair between them, and fewer bytes.
        let mut column = 0;
        while column < width {
            let dark = line[column..].iter().take_while(|color| **color == Color::Dark).count();
            if dark > 0 {
                let left = (column + QUIET) as Length;
                canvas.rectangle((left * 100, bottom * 100), (dark as Length * 100, 100));
            }
            column += dark.max(1);
        }
    }
    canvas.bytes.extend_from_slice(b"f\n");
    Some(canvas.bytes)
}

/// The modules of the smallest code that holds a text, and how many stand side by side.
fn modules(text: &str) -> Option<(usize, Vec<Color>)> {
    let bits = (1..=40).find_map(|version| {
        let mut bits = Bits::new(Version::Normal(version));
        bits.push_byte_data(text.as_bytes()).ok()?;
        bits.push_terminator(LEVEL).ok()?;
        Some(bits)
    })?;
    let version = bits.version();
    let (data, correction) = construct_codewords(&bits.into_bytes(), version, LEVEL).ok()?;
    let mut grid = Grid::new(version, LEVEL);
    grid.draw_all_functional_patterns();
    grid.draw_data(&data, &correction);
    grid.apply_mask(MaskPattern::DiagonalLines);
    let colors = grid.into_colors();
    Some((colors.len().isqrt(), colors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dark_modules_cover_what_the_code_has() {
        let text = "munim/1?kind=statement&id=acct_0000000000001&seq=1";
        let made = String::from_utf8(code(text, 7_200).unwrap()).unwrap();
        let (width, colors) = modules(text).unwrap();
        let dark = colors.iter().filter(|color| **color == Color::Dark).count();
        let area: usize = made
            .lines()
            .filter_map(|line| line.strip_suffix(" re"))
            .map(|line| {
                let numbers: Vec<usize> = line.split(' ').map(|number| number.parse().unwrap()).collect();
                assert!(numbers[0] >= QUIET && numbers[0] + numbers[2] <= width + QUIET && numbers[3] == 1);
                numbers[2]
            })
            .sum();
        assert_eq!(area, dark);
        assert_eq!(width, 33, "version 4 holds 62 bytes of level M");
        assert_eq!(code(&"x".repeat(3_000), 7_200), None);
    }
}

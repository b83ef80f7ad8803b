//! A histogram as a small PNG: reference against window, for mail readers that show no more than pictures.

use driftline_detectors::Bar;

const WIDTH: usize = 560;
const HEIGHT: usize = 160;
const MARGIN: usize = 8;
const BACKGROUND: [u8; 3] = [255, 255, 255];
const AXIS: [u8; 3] = [200, 206, 214];
const REFERENCE: [u8; 3] = [178, 186, 197];
const WINDOW: [u8; 3] = [47, 95, 179];

/// Draws bars in pairs, each pair's reference left and its window right. None without bars.
pub(crate) fn bars(bars: &[Bar]) -> Option<Vec<u8>> {
    let highest = bars.iter().map(|bar| bar.reference.max(bar.window)).fold(0.0, f64::max);
    if bars.is_empty() || highest <= 0.0 {
        return None;
    }
    let mut canvas = Canvas { pixels: BACKGROUND.repeat(WIDTH * HEIGHT) };
    let plot_width = WIDTH - 2 * MARGIN;
    let base = HEIGHT - MARGIN;
    let height = |share: f64| (share / highest * (HEIGHT - 2 * MARGIN) as f64).round() as usize;
    for (index, bar) in bars.iter().enumerate() {
        let (left, right) = (MARGIN + index * plot_width / bars.len(), MARGIN + (index + 1) * plot_width / bars.len());
        // A gap between pairs when there is room for one.
        let right = right - usize::from(right - left > 6);
        let middle = left + (right - left) / 2;
        canvas.fill(left..middle, base - height(bar.reference)..base, REFERENCE);
        canvas.fill(middle..right, base - height(bar.window)..base, WINDOW);
    }
    canvas.fill(MARGIN..WIDTH - MARGIN, base..base + 1, AXIS);
    canvas.png()
}

/// The range that the bars span, in words.
pub(crate) fn range(bars: &[Bar]) -> String {
    match (bars.iter().find_map(|bar| bar.from), bars.iter().rev().find_map(|bar| bar.to)) {
        (Some(from), Some(to)) => {
            format!(", from {} to {}", crate::numbers::significant(from), crate::numbers::significant(to))
        }
        _ => String::new(),
    }
}

struct Canvas {
    pixels: Vec<u8>,
}

impl Canvas {
    fn fill(&mut self, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>, colour: [u8; 3]) {
        for row in rows {
            for column in columns.clone() {
                let at = 3 * (row * WIDTH + column);
                self.pixels[at..at + 3].copy_from_slice(&colour);
            }
        }
    }

    fn png(&self) -> Option<Vec<u8>> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, WIDTH as u32, HEIGHT as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        encoder.write_header().ok()?.write_image_data(&self.pixels).ok()?;
        Some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(reference: f64, window: f64) -> Bar {
        Bar { label: String::new(), from: Some(1.0), to: Some(2.0), reference, window }
    }

    #[test]
    fn bars_become_a_small_png_with_both_colours() {
        let file = bars(&vec![bar(0.5, 0.25); 32]).unwrap();
        assert!(file.len() < 20_000, "{}", file.len());
        let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        for colour in [REFERENCE, WINDOW] {
            assert!(pixels.chunks(3).any(|pixel| pixel == colour));
        }
    }

    #[test]
    fn nothing_to_draw_is_no_picture() {
        assert!(bars(&[]).is_none() && bars(&[bar(0.0, 0.0)]).is_none());
    }

    #[test]
    fn any_number_of_bars_fits() {
        for count in [1, 2, 3, 100, 600, 2000] {
            bars(&vec![bar(1.0, 1.0); count]).unwrap();
        }
    }
}

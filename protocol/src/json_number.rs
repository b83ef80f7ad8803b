//! A JSON number, from its digits: what it amounts to, to the bit.
//!
//! Most numbers have few digits. What these amount to and the power of ten that it is divided by are doubles, so their
//! quotient is the nearest double by itself. All others are left to the standard library.

/// Digits that a 64-bit integer holds, whatever they are.
const MAX_DIGITS: usize = 18;
/// Integers up to here are doubles, and powers of ten up to the last of these: of two doubles, division is exact to the bit.
const MAX_EXACT: u64 = 1 << 53;
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A number as it is written.
#[derive(Debug)]
pub(crate) struct Number<'a> {
    /// All of it.
    pub(crate) text: &'a str,
    is_negative: bool,
    /// Its digits without the point, where it is short.
    mantissa: u64,
    /// Digits behind the point.
    decimals: usize,
    /// Has no exponent, and so few digits that the mantissa holds them.
    is_short: bool,
    /// Has neither point nor exponent.
    is_integer: bool,
}

impl<'a> Number<'a> {
    /// The number that a text begins with. What it comes to stays in registers where it and what takes it are in one piece:
    /// a tenth less for a body.
    #[inline(always)]
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_negative = bytes.first() == Some(&b'-');
        let whole = usize::from(is_negative);
        let (mut mantissa, mut end) = digits(bytes, whole, 0)?;
        let mut digits_found = end - whole;
        if bytes[whole] == b'0' && digits_found > 1 {
            return None;
        }
        let mut decimals = 0;
        if bytes.get(end) == Some(&b'.') {
            let fraction = end + 1;
            (mantissa, end) = digits(bytes, fraction, mantissa)?;
            decimals = end - fraction;
            digits_found += decimals;
        }
        let has_exponent = matches!(bytes.get(end), Some(b'e' | b'E'));
        if has_exponent {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
            (_, end) = digits(bytes, end + 1 + sign, 0)?;
        }
        let is_short = digits_found <= MAX_DIGITS && !has_exponent;
        let is_integer = decimals == 0 && !has_exponent;
        Some(Self { text: text.get(..end)?, is_negative, mantissa, decimals, is_short, is_integer })
    }

    /// Whole, and not below zero.
    pub(crate) fn natural(&self) -> Option<u64> {
        (self.is_integer && self.is_short && !self.is_negative).then_some(self.mantissa)
    }

    /// Whole; but a zero below zero is a double.
    pub(crate) fn integer(&self) -> Option<i64> {
        let is_zero_below = self.is_negative && self.mantissa == 0;
        let magnitude = (self.is_integer && self.is_short && !is_zero_below).then_some(self.mantissa as i64)?;
        Some(if self.is_negative { -magnitude } else { magnitude })
    }

    /// The nearest double; none past the largest.
    #[inline(always)]
    pub(crate) fn double(&self) -> Option<f64> {
        if self.is_short && self.mantissa <= MAX_EXACT {
            let magnitude = self.mantissa as f64 / POWERS_OF_TEN[self.decimals];
            return Some(if self.is_negative { -magnitude } else { magnitude });
        }
        self.text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// The nearest double's nearest in single precision. Integers become singles by one step in `tensors.rs`: so are those here
    /// that a double holds.
    pub(crate) fn single(&self) -> Option<f64> {
        let is_exact = !self.is_integer || self.is_short && self.mantissa <= MAX_EXACT;
        is_exact.then_some(f64::from(self.double()? as f32))
    }
}

/// At least one digit from a place on: where they end, and what they amount to behind those before them, which holds up to
/// [`MAX_DIGITS`].
#[inline(always)]
fn digits(bytes: &[u8], start: usize, before: u64) -> Option<(u64, usize)> {
    let (mut amount, mut at) = (before, start);
    while let Some(eight) = bytes.get(at..).and_then(eight_digits) {
        amount = amount.wrapping_mul(100_000_000).wrapping_add(eight);
        at += 8;
    }
    while let Some(byte @ b'0'..=b'9') = bytes.get(at) {
        amount = amount.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    (at > start).then_some((amount, at))
}

/// What eight digits amount to, all at once; none when there are fewer. Bytes are lanes of one integer: pairs of digits
/// become numbers below a hundred, and then pairs of these.
fn eight_digits(bytes: &[u8]) -> Option<u64> {
    let ones = u64::from_le_bytes(*bytes.first_chunk()?) ^ 0x3030_3030_3030_3030;
    let are_above_nine = (ones & 0x7f7f_7f7f_7f7f_7f7f).wrapping_add(0x7676_7676_7676_7676) | ones;
    if are_above_nine & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_double_comes_back_to_the_bit(
            value in any::<f64>(),
            short in -1_000_000_000i64..1_000_000_000,
            decimals in 0usize..12,
        ) {
            let short = format!("{:.decimals$}", short as f64 / 1000.0);
            let texts = [value.to_string(), format!("{value:e}"), serde_json::to_string(&value).unwrap(), short];
            for (text, expected) in texts.iter().filter_map(|text| Some((text, text.parse::<f64>().ok()?))) {
                if expected.is_finite() {
                    let behind = format!("{text}, 1");
                    let number = Number::read(&behind).unwrap();
                    prop_assert_eq!(number.text, text);
                    prop_assert_eq!(number.double().unwrap().to_bits(), expected.to_bits(), "{}", text);
                }
            }
        }

        #[test]
        fn whole_numbers_are_themselves(value in -999_999_999_999_999_999i64..=999_999_999_999_999_999) {
            let text = value.to_string();
            let number = Number::read(&text).unwrap();
            prop_assert_eq!(number.integer(), Some(value));
            prop_assert_eq!(number.natural(), u64::try_from(value).ok());
            prop_assert_eq!(number.double(), Some(value as f64));
        }
    }

    #[test]
    fn what_json_has_not_is_no_number() {
        for text in ["", "-", ".5", "1.", "01", "+1", "1e", "1e+", "-a", "NaN"] {
            assert!(Number::read(text).is_none(), "{text}");
        }
        assert_eq!(Number::read("1e999").unwrap().double(), None);
        assert_eq!(Number::read("-0").unwrap().integer(), None);
    }
}

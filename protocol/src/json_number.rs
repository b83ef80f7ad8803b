//! A JSON number, from its digits: what it amounts to, to the bit.
//!
//! Most numbers have few digits. What these amount to and the power of ten that it is divided by are doubles, so their
//! quotient is the nearest double by itself. Of numbers as long as a double gets the quotient is taken in integers, from the
//! reciprocal of the power, as Eisel and Lemire do it ("Number Parsing at a Gigabyte per Second", 2021). All others are left to
//! the standard library.

/// Digits that an unsigned 64-bit integer holds, whatever they are.
const MAX_DIGITS: usize = 19;
/// Integers up to here are doubles, and powers of ten up to the last of these: of two doubles, division is exact to the bit.
const MAX_EXACT: u64 = 1 << 53;
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// What a digit's place is worth for each that comes behind it, in eight bytes at a time.
const TENFOLDS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
const RECIPROCALS: [Reciprocal; MAX_DIGITS + 1] = reciprocals();

/// One by a power of ten: `significand / 2^(63 + halvings)`, less than a part in 2^63 too small.
#[derive(Debug, Clone, Copy)]
struct Reciprocal {
    /// Its highest bit is set.
    significand: u64,
    halvings: u32,
}

/// A number as it is written.
#[derive(Debug)]
pub(crate) struct Number<'a> {
    /// Where it stands.
    text: &'a str,
    start: usize,
    /// Where it ends.
    pub(crate) end: usize,
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
    /// The number that begins at a place in a text. What it comes to stays in registers where it and what takes it are in
    /// one piece: a tenth less for a body.
    #[inline(always)]
    pub(crate) fn read(text: &'a str, start: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_negative = bytes.get(start) == Some(&b'-');
        let whole = start + usize::from(is_negative);
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
        Some(Self { text, start, end, is_negative, mantissa, decimals, is_short, is_integer })
    }

    /// Whole, and not below zero.
    pub(crate) fn natural(&self) -> Option<u64> {
        (self.is_integer && self.is_short && !self.is_negative).then_some(self.mantissa)
    }

    /// Whole; but a zero below zero is a double.
    pub(crate) fn integer(&self) -> Option<i64> {
        let is_zero_below = self.is_negative && self.mantissa == 0;
        let magnitude = (self.is_integer && self.is_short && !is_zero_below).then_some(self.mantissa)?;
        let magnitude = i64::try_from(magnitude).ok()?;
        Some(if self.is_negative { -magnitude } else { magnitude })
    }

    /// The nearest double; none past the largest.
    #[inline(always)]
    pub(crate) fn double(&self) -> Option<f64> {
        let magnitude = match self.is_short {
            true if self.mantissa <= MAX_EXACT => Some(self.mantissa as f64 / POWERS_OF_TEN[self.decimals]),
            true => quotient(self.mantissa, RECIPROCALS[self.decimals]),
            false => None,
        };
        match magnitude {
            Some(magnitude) => Some(if self.is_negative { -magnitude } else { magnitude }),
            None => self.parsed(),
        }
    }

    #[cold]
    fn parsed(&self) -> Option<f64> {
        let written = self.text.get(self.start..self.end)?;
        written.parse().ok().filter(|value: &f64| value.is_finite())
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
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let (found, worth) = leading_digits(u64::from_le_bytes(*eight));
        amount = amount.wrapping_mul(TENFOLDS[found]).wrapping_add(worth);
        at += found;
        if found < 8 {
            return (at > start).then_some((amount, at));
        }
    }
    while let Some(byte @ b'0'..=b'9') = bytes.get(at) {
        amount = amount.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    (at > start).then_some((amount, at))
}

/// How many digits eight bytes begin with, and what these amount to. All are looked at at once, for how many there are is what
/// no branch foresees. Bytes are lanes of one integer: pairs of digits become numbers below a hundred, and then pairs of these.
#[inline(always)]
fn leading_digits(bytes: u64) -> (usize, u64) {
    let ones = bytes ^ 0x3030_3030_3030_3030;
    let are_above_nine =
        ((ones & 0x7f7f_7f7f_7f7f_7f7f).wrapping_add(0x7676_7676_7676_7676) | ones) & 0x8080_8080_8080_8080;
    let found = are_above_nine.trailing_zeros() / 8;
    // To the end, behind zeros; in two halves, for nothing is shifted by all of its bits.
    let half = 4 * (8 - found);
    let ones = ones << half << half;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (found as usize, (fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// The nearest double of a positive integer by a power of ten; none where it lies so near to the middle of two that the
/// reciprocal is not exact enough to tell which is nearer.
#[inline(always)]
fn quotient(dividend: u64, by: Reciprocal) -> Option<f64> {
    let doublings = dividend.leading_zeros();
    let product = u128::from(dividend << doublings) * u128::from(by.significand);
    // The product's upper half is less than two below what it would be of the exact reciprocal.
    let upper = (product >> 64) as u64;
    let spare = 11 - upper.leading_zeros();
    let (significand, rest, middle) = (upper >> spare, upper & ((1 << spare) - 1), 1 << (spare - 1));
    if rest == middle || rest + 1 == middle {
        return None;
    }
    let nearest = significand + u64::from(rest > middle);
    let exponent = 1024 + u64::from(spare) - u64::from(by.halvings + doublings);
    Some(nearest as f64 * f64::from_bits(exponent << 52))
}

const fn reciprocals() -> [Reciprocal; MAX_DIGITS + 1] {
    let mut all = [Reciprocal { significand: 1 << 63, halvings: 0 }; MAX_DIGITS + 1];
    let (mut decimals, mut power_of_five) = (1, 1u128);
    while decimals <= MAX_DIGITS {
        power_of_five *= 5;
        // So many bits that the quotient has sixty-four.
        let bits = 128 - power_of_five.leading_zeros();
        let significand = ((1 << (63 + bits)) / power_of_five) as u64;
        all[decimals] = Reciprocal { significand, halvings: bits + decimals as u32 };
        decimals += 1;
    }
    all
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
                    let within = format!("[{text}, 1");
                    let number = Number::read(&within, 1).unwrap();
                    prop_assert_eq!(&within[1..number.end], text);
                    prop_assert_eq!(number.double().unwrap().to_bits(), expected.to_bits(), "{}", text);
                }
            }
        }

        #[test]
        fn every_number_of_up_to_nineteen_digits_is_the_nearest_double(
            digits in prop_oneof![0u64..10_000_000_000_000_000_000, (1u64 << 53)..(1 << 58)],
            decimals in 0usize..=MAX_DIGITS,
            is_negative in any::<bool>(),
        ) {
            let digits = format!("{digits:020}");
            let (whole, fraction) = digits.split_at(digits.len() - decimals);
            let whole = match whole.trim_start_matches('0') { "" => "0", whole => whole };
            let point = if fraction.is_empty() { "" } else { "." };
            let text = format!("{}{whole}{point}{fraction}", if is_negative { "-" } else { "" });
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(Number::read(&text, 0).unwrap().double().unwrap().to_bits(), expected.to_bits(), "{}", text);
        }

        #[test]
        fn digits_are_counted_and_amount_to_what_they_spell(digits in "[0-9]{0,8}", behind in "[ -/:-~é]{8}") {
            let text = format!("{digits}{behind}");
            let eight = u64::from_le_bytes(*text.as_bytes().first_chunk().unwrap());
            prop_assert_eq!(leading_digits(eight), (digits.len(), digits.parse().unwrap_or(0)));
        }

        #[test]
        fn whole_numbers_are_themselves(value in (1 - i64::MAX)..=i64::MAX) {
            let text = value.to_string();
            let number = Number::read(&text, 0).unwrap();
            prop_assert_eq!(number.integer(), Some(value));
            prop_assert_eq!(number.natural(), u64::try_from(value).ok());
            prop_assert_eq!(number.double(), Some(value as f64));
        }
    }

    #[test]
    fn what_lies_in_the_middle_of_two_doubles_is_the_even_one() {
        let middles = [
            "9007199254740993",
            "9007199254740995.0",
            "4503599627370496.5",
            "4503599627370497.50000",
            "0.5000000000000000000",
        ];
        let beside = ["9007199254740993.001", "4503599627370496.501", "4503599627370496.4999", "9999999999999999999"];
        for text in middles.into_iter().chain(beside) {
            assert_eq!(Number::read(text, 0).unwrap().double(), text.parse().ok(), "{text}");
        }
        let (unclear, clear) = (45_035_996_273_704_965, 45_035_996_273_704_966);
        assert_eq!([unclear, clear].map(|digits| quotient(digits, RECIPROCALS[1]).is_some()), [false, true]);
    }

    #[test]
    fn what_json_has_not_is_no_number() {
        for text in ["", "-", ".5", "1.", "01", "+1", "1e", "1e+", "-a", "NaN"] {
            assert!(Number::read(text, 0).is_none(), "{text}");
        }
        assert_eq!(Number::read("1e999", 0).unwrap().double(), None);
        assert_eq!(Number::read("-0", 0).unwrap().integer(), None);
    }
}

//! Changes of unit that people make by accident.

/// One unit read for another: `y = factor·x + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Conversion {
    pub(crate) factor: f64,
    pub(crate) offset: f64,
    /// What has this factor, each from one unit to another.
    pub(crate) names: &'static [&'static str],
}

const fn times(factor: f64, names: &'static [&'static str]) -> Conversion {
    Conversion { factor, offset: 0.0, names }
}

/// All of them, once from each side.
///
/// Factors closer to one than a tenth are left out: a column may move as much by itself.
pub(crate) const CONVERSIONS: &[Conversion] = &[
    times(-1.0, &["sign flipped"]),
    Conversion { factor: 5.0 / 9.0, offset: -160.0 / 9.0, names: &["Fahrenheit to Celsius"] },
    Conversion { factor: 1.8, offset: 32.0, names: &["Celsius to Fahrenheit"] },
    Conversion { factor: 1.0, offset: 273.15, names: &["Celsius to kelvin"] },
    Conversion { factor: 1.0, offset: -273.15, names: &["kelvin to Celsius"] },
    Conversion { factor: 5.0 / 9.0, offset: 273.15 - 160.0 / 9.0, names: &["Fahrenheit to kelvin"] },
    Conversion { factor: 1.8, offset: 32.0 - 273.15 * 1.8, names: &["kelvin to Fahrenheit"] },
    times(10.0, &["centimetres to millimetres"]),
    times(0.1, &["millimetres to centimetres"]),
    times(100.0, &["shares to per cent", "euros to cents", "dollars to cents", "metres to centimetres"]),
    times(0.01, &["per cent to shares", "cents to euros", "cents to dollars", "centimetres to metres"]),
    times(1e3, &["seconds to milliseconds", "kilometres to metres", "kilograms to grams"]),
    times(1e-3, &["milliseconds to seconds", "metres to kilometres", "grams to kilograms"]),
    times(1e6, &["seconds to microseconds", "millions to units"]),
    times(1e-6, &["microseconds to seconds", "units to millions"]),
    times(1e9, &["seconds to nanoseconds"]),
    times(1e-9, &["nanoseconds to seconds"]),
    times(1024.0, &["kibibytes to bytes"]),
    times(1.0 / 1024.0, &["bytes to kibibytes"]),
    times(60.0, &["minutes to seconds", "hours to minutes"]),
    times(1.0 / 60.0, &["seconds to minutes", "minutes to hours"]),
    times(3600.0, &["hours to seconds"]),
    times(1.0 / 3600.0, &["seconds to hours"]),
    times(24.0, &["days to hours"]),
    times(1.0 / 24.0, &["hours to days"]),
    times(86_400.0, &["days to seconds"]),
    times(1.0 / 86_400.0, &["seconds to days"]),
    times(7.0, &["weeks to days"]),
    times(1.0 / 7.0, &["days to weeks"]),
    times(12.0, &["years to months", "feet to inches"]),
    times(1.0 / 12.0, &["months to years", "inches to feet"]),
    times(1.609_344, &["miles to kilometres", "miles an hour to kilometres an hour"]),
    times(1.0 / 1.609_344, &["kilometres to miles", "kilometres an hour to miles an hour"]),
    times(1.852, &["nautical miles to kilometres", "knots to kilometres an hour"]),
    times(1.0 / 1.852, &["kilometres to nautical miles", "kilometres an hour to knots"]),
    times(0.447_04, &["miles an hour to metres a second"]),
    times(1.0 / 0.447_04, &["metres a second to miles an hour"]),
    times(3.6, &["metres a second to kilometres an hour"]),
    times(1.0 / 3.6, &["kilometres an hour to metres a second"]),
    times(1_852.0 / 3_600.0, &["knots to metres a second"]),
    times(3_600.0 / 1_852.0, &["metres a second to knots"]),
    times(1_609.344, &["miles to metres"]),
    times(1.0 / 1_609.344, &["metres to miles"]),
    times(0.304_8, &["feet to metres"]),
    times(1.0 / 0.304_8, &["metres to feet"]),
    times(2.54, &["inches to centimetres"]),
    times(1.0 / 2.54, &["centimetres to inches"]),
    times(25.4, &["inches to millimetres"]),
    times(1.0 / 25.4, &["millimetres to inches"]),
    times(0.453_592_37, &["pounds to kilograms"]),
    times(1.0 / 0.453_592_37, &["kilograms to pounds"]),
    times(28.349_523_125, &["ounces to grams"]),
    times(1.0 / 28.349_523_125, &["grams to ounces"]),
    times(3.785_411_784, &["US gallons to litres"]),
    times(1.0 / 3.785_411_784, &["litres to US gallons"]),
    times(33.863_886_67, &["inches of mercury to hectopascals"]),
    times(1.0 / 33.863_886_67, &["hectopascals to inches of mercury"]),
    times(180.0 / std::f64::consts::PI, &["radians to degrees"]),
    times(std::f64::consts::PI / 180.0, &["degrees to radians"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conversion_has_its_way_back() {
        for Conversion { factor, offset, names } in CONVERSIONS {
            let undoes = |back: &&Conversion| {
                (back.factor * factor - 1.0).abs() < 1e-12 && (back.factor * offset + back.offset).abs() < 1e-9
            };
            assert!(CONVERSIONS.iter().any(|back| undoes(&back)), "{names:?}");
            assert!(*offset != 0.0 || factor.abs().ln().abs() > 0.1 || *factor < 0.0, "{names:?} is too close to one");
        }
    }
}

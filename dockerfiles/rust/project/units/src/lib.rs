//! Quantities that know their unit: numbers of different units cannot be added by mistake.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};
use std::str::FromStr;

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    Number(String),
    Unit { expected: &'static str, found: String },
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Number(text) => write!(out, "{:?} is not a number", text),
            ParseError::Unit { expected, found } => write!(out, "unit {:?} where {:?} is wanted", found, expected),
        }
    }
}

impl std::error::Error for ParseError {}

/// What all quantities have in common.
pub trait Quantity: Copy + PartialOrd + fmt::Display + FromStr<Err = ParseError> + Add<Output = Self> {
    const SYMBOL: &'static str;
    const DIMENSION: &'static str;
    /// How many base units of the dimension this unit is.
    const FACTOR: f64;

    fn new(value: f64) -> Self;
    fn value(self) -> f64;
}

/// Sum, mean, median and extremes of quantities.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary<Q> {
    pub count: usize,
    pub sum: Q,
    pub mean: Q,
    pub median: Q,
    pub least: Q,
    pub most: Q,
}

/// Summarize quantities; None where there are none.
pub fn summarize<Q: Quantity>(values: &[Q]) -> Option<Summary<Q>> {
    let mut sorted: Vec<f64> = values.iter().map(|value| value.value()).filter(|value| !value.is_nan()).collect();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("no NaN is left"));
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let sum: f64 = sorted.iter().sum();
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    Some(Summary {
        count: sorted.len(),
        sum: Q::new(sum),
        mean: Q::new(sum / sorted.len() as f64),
        median: Q::new(median),
        least: Q::new(least),
        most: Q::new(most),
    })
}

impl<Q: Quantity> fmt::Display for Summary<Q> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} values, sum {}, mean {}, median {}, {} to {}",
            self.count, self.sum, self.mean, self.median, self.least, self.most
        )
    }
}

/// How many values lie in each of `buckets` equal parts of their range.
pub fn histogram<Q: Quantity>(values: &[Q], buckets: usize) -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    if let Some(summary) = summarize(values) {
        let width = (summary.most.value() - summary.least.value()) / buckets.max(1) as f64;
        for value in values {
            let place = if width > 0.0 { ((value.value() - summary.least.value()) / width) as usize } else { 0 };
            found.entry(place.min(buckets.saturating_sub(1))).or_default().push(value.to_string());
        }
    }
    found
}

fn parse(text: &str, symbol: &'static str) -> Result<f64, ParseError> {
    let text = text.trim();
    let end = text.find(|letter: char| letter.is_alphabetic() && letter != 'e' && letter != 'E').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if unit.trim() != symbol {
        return Err(ParseError::Unit { expected: symbol, found: unit.trim().to_string() });
    }
    number.trim().parse().map_err(|_| ParseError::Number(number.trim().to_string()))
}

macro_rules! units {
    ($($dimension:literal { $($name:ident $symbol:literal $factor:expr;)* })*) => {
        $($(
            #[doc = concat!("An amount in ", $symbol, ".")]
            #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
            pub struct $name(pub f64);

            impl Quantity for $name {
                const SYMBOL: &'static str = $symbol;
                const DIMENSION: &'static str = $dimension;
                const FACTOR: f64 = $factor;
                fn new(value: f64) -> Self { $name(value) }
                fn value(self) -> f64 { self.0 }
            }

            impl fmt::Display for $name {
                fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                    match out.precision() {
                        Some(digits) => write!(out, "{:.*} {}", digits, self.0, $symbol),
                        None => write!(out, "{} {}", self.0, $symbol),
                    }
                }
            }

            impl FromStr for $name {
                type Err = ParseError;
                fn from_str(text: &str) -> Result<Self, ParseError> { parse(text, $symbol).map($name) }
            }

            impl Add for $name { type Output = Self; fn add(self, other: Self) -> Self { $name(self.0 + other.0) } }
            impl Sub for $name { type Output = Self; fn sub(self, other: Self) -> Self { $name(self.0 - other.0) } }
            impl Neg for $name { type Output = Self; fn neg(self) -> Self { $name(-self.0) } }
            impl Mul<f64> for $name { type Output = Self; fn mul(self, by: f64) -> Self { $name(self.0 * by) } }
            impl Div<f64> for $name { type Output = Self; fn div(self, by: f64) -> Self { $name(self.0 / by) } }
            impl Div for $name { type Output = f64; fn div(self, other: Self) -> f64 { self.0 / other.0 } }
            impl AddAssign for $name { fn add_assign(&mut self, other: Self) { self.0 += other.0 } }
            impl std::iter::Sum for $name { fn sum<I: Iterator<Item = Self>>(all: I) -> Self { $name(all.map(|x| x.0).sum()) } }
        )*)*

        /// Summarize a column of texts, all in the unit whose symbol is given, with a histogram of ten parts.
        pub fn describe(symbol: &str, column: &[&str]) -> Result<Option<String>, ParseError> {
            match symbol {
                $($($symbol => {
                    let values = column.iter().map(|text| text.parse::<$name>()).collect::<Result<Vec<_>, _>>()?;
                    let parts = histogram(&values, 10);
                    Ok(summarize(&values).map(|summary| format!("{}\n{:?}", summary, parts)))
                })*)*
                other => Err(ParseError::Unit { expected: "any known unit", found: other.to_string() }),
            }
        }

        /// A quantity given as text, in another unit of its dimension.
        pub fn convert(text: &str, to: &str) -> Result<String, ParseError> {
            $($(if let Ok(value) = text.parse::<$name>() { return convert_to(value, to); })*)*
            Err(ParseError::Number(text.to_string()))
        }

        fn convert_to<From: Quantity>(value: From, to: &str) -> Result<String, ParseError> {
            in_unit(value.value() * From::FACTOR, From::DIMENSION, to)
        }

        fn in_unit(amount: f64, dimension: &'static str, to: &str) -> Result<String, ParseError> {
            match to {
                $($($symbol if dimension == $dimension => Ok(format!("{:.6}", $name(amount / $factor))),)*)*
                other => Err(ParseError::Unit { expected: dimension, found: other.to_string() }),
            }
        }

        /// Dimension and symbol of every unit.
        pub const UNITS: &[(&str, &str)] = &[$($(($dimension, $symbol),)*)*];
    };
}

units! {
    "length" {
        Millimetre "mm" 1e-3; Centimetre "cm" 1e-2; Metre "m" 1.0; Kilometre "km" 1e3; Inch "in" 0.0254; Foot "ft" 0.3048;
        Mile "mi" 1609.344;
    }
    "mass" { Gram "g" 1e-3; Kilogram "kg" 1.0; Tonne "t" 1e3; Ounce "oz" 0.028_349_523_125; Pound "lb" 0.453_592_37; }
    "time" { Second "s" 1.0; Minute "min" 60.0; Hour "h" 3600.0; Day "d" 86_400.0; }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts() {
        assert_eq!(convert("2 km", "mi").unwrap(), "1.242742 mi");
        assert!(convert("2 km", "kg").is_err());
    }
}

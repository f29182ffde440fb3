//! Kubernetes resource quantities (`250m`, `1.5Gi`, `2e3`) as whole numbers.

/// What one unit of the result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Thousandths: CPU in millicores.
    Milli,
    /// Units: bytes, pods, devices.
    Unit,
}

impl Scale {
    /// The scale in which a resource is counted.
    #[must_use]
    pub fn of(resource: &str) -> Self {
        if resource == "cpu" { Self::Milli } else { Self::Unit }
    }
}

/// Text that is no quantity.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no Kubernetes quantity")]
pub struct BadQuantity(pub String);

/// More significant digits than this change no i64.
const MAX_DIGITS: u32 = 20;

/// The quantity in `scale`, rounded up (away from zero) as Kubernetes does; what i64 can't hold
/// becomes its nearest bound.
///
/// # Errors
/// [`BadQuantity`] if `text` does not follow the grammar
/// `sign? (digits | digits.digits? | .digits) (Ki…Ei | n u m k M G T P E | e exponent)?`.
pub fn parse_quantity(text: &str, scale: Scale) -> Result<i64, BadQuantity> {
    parse(text, scale).ok_or_else(|| BadQuantity(text.chars().take(64).collect()))
}

fn parse(text: &str, scale: Scale) -> Option<i64> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let number_end = rest.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(number_end);
    let decimal = Decimal::parse(number)?;
    let (two, mut ten) = suffix_powers(suffix)?;
    if scale == Scale::Milli {
        ten += 3;
    }
    let magnitude = decimal.scaled(two, ten);
    let bounded = i64::try_from(magnitude).unwrap_or(i64::MAX);
    Some(if negative { -bounded } else { bounded })
}

/// The powers of two and of ten that a suffix stands for.
fn suffix_powers(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let sign = if exponent.starts_with('-') { -1 } else { 1 };
            // Past a thousand every value has long met its bound.
            (0, sign * digits.parse::<i32>().unwrap_or(1000).min(1000))
        }
    })
}

/// `digits × 10^exponent`, and whether digits were cut off that were not all zero.
struct Decimal {
    digits: u128,
    exponent: i32,
    cut: bool,
}

impl Decimal {
    fn parse(number: &str) -> Option<Self> {
        let mut decimal = Self { digits: 0, exponent: 0, cut: false };
        let (mut significant, mut any, mut in_fraction) = (0, false, false);
        for byte in number.bytes() {
            if byte == b'.' {
                if in_fraction {
                    return None;
                }
                in_fraction = true;
                continue;
            }
            any = true;
            if significant < MAX_DIGITS {
                decimal.digits = decimal.digits * 10 + u128::from(byte - b'0');
                significant += u32::from(decimal.digits > 0);
                decimal.exponent -= i32::from(in_fraction);
            } else {
                decimal.cut |= byte != b'0';
                decimal.exponent = decimal.exponent.saturating_add(i32::from(!in_fraction));
            }
        }
        any.then_some(decimal)
    }

    /// The value times `2^two × 10^ten`, rounded up.
    fn scaled(&self, two: u32, ten: i32) -> u128 {
        if self.digits == 0 {
            return 0;
        }
        // 20 digits are below 2^67, so the shift by at most 60 stays below 2^127.
        let shifted = self.digits << two;
        let ten = self.exponent.saturating_add(ten);
        match 10_u128.checked_pow(ten.unsigned_abs()) {
            Some(power) if ten < 0 => round_up(shifted, power, self.cut),
            None if ten < 0 => 1,
            power => power
                .and_then(|power| shifted.checked_mul(power))
                .map_or(u128::MAX, |value| value.saturating_add(u128::from(self.cut))),
        }
    }
}

fn round_up(value: u128, by: u128, cut: bool) -> u128 {
    let (quotient, rest) = (value / by, value % by);
    quotient + u128::from(rest > 0 || cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, scale, want) in [
            ("0", Scale::Unit, Some(0)),
            ("4", Scale::Milli, Some(4000)),
            ("3920m", Scale::Milli, Some(3920)),
            ("0.1", Scale::Milli, Some(100)),
            (".5", Scale::Milli, Some(500)),
            ("5.", Scale::Unit, Some(5)),
            ("100u", Scale::Milli, Some(1)),
            ("1n", Scale::Milli, Some(1)),
            ("0n", Scale::Milli, Some(0)),
            ("1.0005", Scale::Milli, Some(1001)),
            ("100m", Scale::Unit, Some(1)),
            ("1500m", Scale::Unit, Some(2)),
            ("64M", Scale::Unit, Some(64_000_000)),
            ("128Mi", Scale::Unit, Some(134_217_728)),
            ("1.5Gi", Scale::Unit, Some(1_610_612_736)),
            ("0.1Ki", Scale::Unit, Some(103)),
            ("7Gi", Scale::Unit, Some(7_516_192_768)),
            ("1k", Scale::Unit, Some(1000)),
            ("1E", Scale::Unit, Some(1_000_000_000_000_000_000)),
            ("1E3", Scale::Unit, Some(1000)),
            ("1e+3", Scale::Unit, Some(1000)),
            ("12e-1", Scale::Unit, Some(2)),
            ("2.5e3", Scale::Milli, Some(2_500_000)),
            ("+5", Scale::Unit, Some(5)),
            ("-5", Scale::Unit, Some(-5)),
            ("-1500m", Scale::Unit, Some(-2)),
            ("7Ei", Scale::Unit, Some(7 << 60)),
            ("8Ei", Scale::Unit, Some(i64::MAX)),
            ("1e400", Scale::Unit, Some(i64::MAX)),
            ("1e-400", Scale::Unit, Some(1)),
            ("1e99999999999", Scale::Unit, Some(i64::MAX)),
            ("9223372036854775807", Scale::Unit, Some(i64::MAX)),
            ("9223372036854775808", Scale::Unit, Some(i64::MAX)),
            ("0.000000000000000000000000000000000000000000000000001", Scale::Unit, Some(1)),
            ("1.000000000000000000000000000000000000000000000000001", Scale::Unit, Some(2)),
            ("100000000000000000000000000000000000000000000000000000", Scale::Unit, Some(i64::MAX)),
            ("", Scale::Unit, None),
            ("-", Scale::Unit, None),
            (".", Scale::Unit, None),
            ("1.2.3", Scale::Unit, None),
            ("Gi", Scale::Unit, None),
            ("1 Gi", Scale::Unit, None),
            ("1gi", Scale::Unit, None),
            ("1e", Scale::Unit, None),
            ("1e+", Scale::Unit, None),
            ("1e++3", Scale::Unit, None),
            ("1K", Scale::Unit, None),
            ("--1", Scale::Unit, None),
            ("0x10", Scale::Unit, None),
            ("1é", Scale::Unit, None),
        ] {
            assert_eq!(parse_quantity(text, scale).ok(), want, "`{text}` in {scale:?}");
        }
    }
}

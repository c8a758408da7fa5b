//! What a plain scalar of YAML is to Kubernetes.
//!
//! kubectl and the API server read YAML 1.1 as Go's `yaml.v2` does, where `no` is false, `010` is eight and a time is
//! a string. A reader of YAML 1.2 would say "accepted" to a `value: no` that the API server refuses.

use serde_json::Value;

/// What the plain scalar `text` stands for; `None` where it stands for something that JSON cannot say.
pub(super) fn resolve(text: &str) -> Option<Value> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => return None,
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    })
}

fn number(text: &str) -> Option<Value> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || b"+-.".contains(&first)) {
        return None;
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    integer(&plain).map(Value::from).or_else(|| {
        let float = is_float(&plain).then(|| plain.parse::<f64>().ok())??;
        serde_json::Number::from_f64(float).map(Value::Number)
    })
}

/// An integer in base 2, 8, 10 or 16, by its prefix; a leading zero alone means base 8.
fn integer(text: &str) -> Option<serde_json::Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (lower.get(2..)?, 16),
        [b'0', b'b', ..] => (lower.get(2..)?, 2),
        [b'0', b'o', ..] => (lower.get(2..)?, 8),
        [b'0', _, ..] => (lower.get(1..)?, 8),
        _ => (lower.as_str(), 10),
    };
    // A second sign would pass `from_str_radix`.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        0_i64.checked_sub_unsigned(size).map(Into::into)
    } else {
        Some(size.into())
    }
}

/// `[-+]? (.digits | digits[.[digits]]) [e[-+]digits]`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits =
        digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa_fits && exponent_fits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_are_what_kubernetes_takes_them_for() {
        for (text, value) in [
            ("acme", json!("acme")),
            ("no", json!(false)),
            ("Off", json!(false)),
            ("y", json!(true)),
            ("", json!(null)),
            ("~", json!(null)),
            ("NULL", json!(null)),
            ("nul", json!("nul")),
            ("50", json!(50)),
            ("+50", json!(50)),
            ("-1", json!(-1)),
            ("5_0", json!(50)),
            ("010", json!(8)),
            ("0x32", json!(50)),
            ("0b11", json!(3)),
            ("0o17", json!(15)),
            ("08", json!(8.0)),
            ("50.0", json!(50.0)),
            ("5e1", json!(50.0)),
            (".5", json!(0.5)),
            ("5.", json!(5.0)),
            ("30m", json!("30m")),
            ("1e", json!("1e")),
            ("-", json!("-")),
            (".", json!(".")),
            ("--5", json!("--5")),
            ("1.2.3", json!("1.2.3")),
            ("2026-11-22T14:00:00Z", json!("2026-11-22T14:00:00Z")),
            (
                "18446744073709551615",
                json!(18_446_744_073_709_551_615_u64),
            ),
            ("-9223372036854775808", json!(i64::MIN)),
        ] {
            assert_eq!(resolve(text), Some(value), "{text}");
        }
        assert_eq!(resolve(".inf"), None);
        assert_eq!(resolve("-.INF"), None);
    }
}

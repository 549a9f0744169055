//! Converts and summarizes measurements.

use std::io::{self, BufRead};

const USAGE: &str = "usage: measure QUANTITY UNIT     such as: measure '2 km' mi
       measure --json QUANTITY UNIT
       measure --describe UNIT   summarizes the quantities on its input
       measure --units";

fn run(words: &[&str]) -> Result<String, String> {
    match words {
        ["--units"] => Ok(units::UNITS.iter().map(|(kind, name)| format!("{kind} {name}\n")).collect()),
        ["--describe", unit] => {
            let lines: Vec<String> = io::stdin().lock().lines().collect::<Result<_, _>>().map_err(|e| e.to_string())?;
            let column: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.trim().is_empty()).collect();
            let found = units::describe(unit, &column).map_err(|error| error.to_string())?;
            Ok(found.unwrap_or_else(|| "nothing".to_string()) + "\n")
        }
        ["--json", quantity, unit] => {
            let found = units::convert(quantity, unit).map_err(|error| error.to_string())?;
            Ok(serde_json::json!({ "from": quantity, "to": found }).to_string() + "\n")
        }
        [quantity, unit] => units::convert(quantity, unit).map(|text| text + "\n").map_err(|error| error.to_string()),
        _ => Err(USAGE.to_string()),
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(text) => print!("{text}"),
        Err(problem) => {
            eprintln!("{problem}");
            std::process::exit(1);
        }
    }
}

//! Plans as people read them.

use super::{put, warnings};
use crate::api::{EndpointFlows, FlowsPlan, Plan};
use crate::cli::table::{Table, printable};
use crate::difference::{Action, Difference};

/// What a plan says.
pub(super) fn plan(plan: &Plan) -> String {
    let Plan { file, generation, differences, flows, endpoints, warnings: remarks } = plan;
    let mut text = String::new();
    let file = printable(file);
    put(
        &mut text,
        format_args!("{file} compared with generation {generation}; nothing was changed"),
    );
    warnings(&mut text, remarks);
    if differences.is_empty() {
        put(&mut text, format_args!("It changes nothing."));
    }
    for Difference { kind, name, action, values } in differences {
        let sign = match action {
            Action::Added => '+',
            Action::Removed => '-',
            Action::Changed => '~',
        };
        put(&mut text, format_args!("{sign} {} {}", printable(kind), printable(name)));
        for value in values {
            let or_none =
                |text: &str| if text.is_empty() { "none".to_owned() } else { printable(text) };
            let (before, after) = (or_none(&value.before), or_none(&value.after));
            put(&mut text, format_args!("    {} {before} -> {after}", printable(&value.name)));
        }
    }
    let FlowsPlan { stay, drain, moved, reset, ended } = flows;
    let of = |flows: u64, concerns: fn(&FlowsPlan) -> u64| match flows {
        0 => "no flow".to_owned(),
        1 => "1 flow".to_owned(),
        _ => {
            let count = endpoints.iter().filter(|one| concerns(&one.flows) > 0).count();
            let plural = if count == 1 { "" } else { "s" };
            format!("{flows} flows of {count} endpoint{plural}")
        }
    };
    put(&mut text, format_args!("resets {}", of(*reset, |flows| flows.reset)));
    put(&mut text, format_args!("ends   {} in silence", of(*ended, |flows| flows.ended)));
    put(&mut text, format_args!("moves  {} to another backend", of(*moved, |flows| flows.moved)));
    put(&mut text, format_args!("drains {}", of(*drain, |flows| flows.drain)));
    put(&mut text, format_args!("leaves {stay} as they are"));
    if !endpoints.is_empty() {
        text.push('\n');
        text.push_str(&by_endpoint(endpoints));
    }
    text
}

fn by_endpoint(endpoints: &[EndpointFlows]) -> String {
    let header = ["ENDPOINT", "STAY#", "DRAIN#", "MOVE#", "RESET#", "END#", "WHY"];
    let mut table = Table::new(&header);
    for EndpointFlows { endpoint, link_id, flows, reasons } in endpoints {
        let reasons: Vec<&str> = reasons.iter().map(|reason| reason.metric.as_str()).collect();
        table.row([
            endpoint.clone().unwrap_or_else(|| format!("#{link_id}")),
            flows.stay.to_string(),
            flows.drain.to_string(),
            flows.moved.to_string(),
            flows.reset.to_string(),
            flows.ended.to_string(),
            reasons.join(", "),
        ]);
    }
    table.render("")
}

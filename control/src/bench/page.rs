//! The report as one page of HTML: figures as tables, and the same as plots. It loads nothing, runs
//! nothing, and follows the viewer's colours.
//!
//! Names of backends come from the network: whatever is not ours is made text, never markup.

use std::fmt::Write;

use super::outcome::{PERCENTILES, Step, deviation};
use super::report::{Report, evenness_words, grouped, micros};
use super::series::Second;
use crate::plot::{self, Bars, Curve, Plot, Scale, escaped};

const CSS: &str = include_str!("page.css");
/// Points of a curve over time; more seconds than that are put together.
const POINTS_MAX: usize = 240;

/// The page.
pub(super) fn page(report: &Report) -> String {
    let target = escaped(&report.target);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>adit bench: {target}</title>\n<style>\n{CSS}{}\n</style>\n</head>\n<body>\n",
        plot::STYLE
    );
    header(&mut html, report);
    html.push_str("<main>\n");
    if report.steps.len() > 1 {
        overview(&mut html, report);
    }
    for (at, step) in report.steps.iter().enumerate() {
        step_of(&mut html, report, at, step);
    }
    html.push_str("</main>\n");
    footer(&mut html, report);
    html + "</body>\n</html>\n"
}

// Writing to a string does not fail, here and below.
fn header(html: &mut String, report: &Report) {
    let (class, verdict) = match report.last_good_step.and_then(|at| report.steps.get(at)) {
        _ if report.ended_early => ("bad", "ended early".to_owned()),
        None => ("bad", "no step was good".to_owned()),
        Some(step) => {
            let rate = grouped(step.completed_per_second.round());
            let flows = grouped(step.flows as f64);
            let which = if report.steps.len() > 1 { "last good step: " } else { "good: " };
            ("good", format!("{which}{rate} {} a second with {flows} flows", report.noun()))
        }
    };
    let _ = writeln!(
        html,
        "<header>\n<h1>adit bench: {}</h1>\n<p class=\"{class}\">{verdict}</p>\n\
         <p class=\"soft\">{}. A good step loses at most {} %. Latency is measured {}.</p>\n\
         </header>",
        escaped(&report.target),
        escaped(&report.summary()),
        report.max_loss_percent,
        report.latency_note()
    );
    if !report.notes.is_empty() {
        let items = report.notes.iter().map(|note| format!("<li>{}</li>", escaped(note)));
        let _ = writeln!(html, "<ul class=\"wait\">{}</ul>", items.collect::<String>());
    }
}

fn footer(html: &mut String, report: &Report) {
    let machine = &report.machine;
    let _ = writeln!(
        html,
        "<footer>\n<p>Measured on {} by adit {} on {} x {}, Linux {}, clock {}; {} source \
         address{}, timeout {} s, warm-up {} s.</p>\n</footer>",
        escaped(&report.date),
        report.version,
        machine.processors,
        escaped(&machine.processor),
        escaped(&machine.kernel),
        escaped(&machine.clock),
        report.sources,
        if report.sources == 1 { "" } else { "es" },
        report.timeout_seconds,
        report.warm_up_seconds
    );
}

/// How one step compares with the others.
fn overview(html: &mut String, report: &Report) {
    let has_rates = report.steps.iter().all(|step| step.offered_per_second.is_some());
    let flows_differ = report.steps.iter().any(|step| step.flows != report.steps[0].flows);
    let by_rate = has_rates && !flows_differ;
    let x = |step: &Step| match step.offered_per_second {
        Some(rate) if by_rate => rate,
        _ => step.flows as f64,
    };
    let mut steps: Vec<&Step> = report.steps.iter().collect();
    steps.sort_by(|one, other| x(one).total_cmp(&x(other)));
    let _ = writeln!(html, "<section>\n<h2>All steps</h2>");
    steps_table(html, report);
    let name = if by_rate { "offered a second" } else { "flows" };
    let curve = |name: &str, y: &dyn Fn(&Step) -> Option<f64>| {
        let points = steps.iter().filter_map(|step| Some((x(step), y(step)?)));
        Curve { name: name.to_owned(), points: points.collect() }
    };
    let done = curve("completed", &|step| Some(step.completed_per_second));
    let offered = by_rate.then(|| curve("offered", &|step| step.offered_per_second));
    let span = steps.last().map_or(1.0, |last| x(last)) / steps.first().map_or(1.0, |step| x(step));
    let scale = || Scale::new(name, span > 8.0);
    let throughput = Plot {
        title: format!("{} a second, by step", capital(report.noun())),
        x: scale(),
        y: Scale::new("a second", span > 8.0),
        curves: offered.into_iter().chain([done]).collect(),
    };
    let at = |name: &'static str| {
        move |step: &Step| step.latency_us.as_ref()?.get(name).map(|micros| micros / 1e3)
    };
    let latency = Plot {
        title: "Latency by step".into(),
        x: scale(),
        y: milliseconds(),
        curves: ["p50", "p99", "max"].map(|name| curve(name, &at(name))).to_vec(),
    };
    let _ = writeln!(html, "{}{}</section>", throughput.inline(), latency.inline());
}

fn steps_table(html: &mut String, report: &Report) {
    let _ = writeln!(
        html,
        "<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Step</th>\
         <th scope=\"col\">Offered a second</th><th scope=\"col\">Flows</th>\
         <th scope=\"col\">{} a second</th><th scope=\"col\">Lost %</th><th scope=\"col\">p50</th>\
         <th scope=\"col\">p99</th><th scope=\"col\">Verdict</th></tr></thead>\n<tbody>",
        capital(report.noun())
    );
    for (at, step) in report.steps.iter().enumerate() {
        let figure = |name: &str| {
            let value = step.latency_us.as_ref().and_then(|latency| latency.get(name));
            value.map_or("-".to_owned(), |value| micros(*value))
        };
        let offered = step.offered_per_second.map_or("-".to_owned(), grouped);
        let _ = writeln!(
            html,
            "<tr><td><a href=\"#step-{}\">{}</a></td><td>{offered}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            at + 1,
            at + 1,
            grouped(step.flows as f64),
            grouped(step.completed_per_second.round()),
            step.loss_percent,
            figure("p50"),
            figure("p99"),
            verdict(step)
        );
    }
    html.push_str("</tbody></table></div>\n");
}

fn verdict(step: &Step) -> &'static str {
    if step.is_good {
        "<span class=\"good\">good</span>"
    } else {
        "<span class=\"bad\">not good</span>"
    }
}

fn step_of(html: &mut String, report: &Report, at: usize, step: &Step) {
    let offered = step.offered_per_second.map(|rate| format!("{} a second, ", grouped(rate)));
    let _ = writeln!(
        html,
        "<section id=\"step-{}\">\n<h2>{}{} flows: {}</h2>",
        at + 1,
        offered.unwrap_or_default(),
        grouped(step.flows as f64),
        verdict(step)
    );
    if !step.remarks.is_empty() {
        let items = step.remarks.iter().map(|remark| format!("<li>{}</li>", escaped(remark)));
        let _ = writeln!(html, "<ul class=\"wait\">{}</ul>", items.collect::<String>());
    }
    counts_table(html, report, step);
    latency_table(html, step);
    faults_table(html, step);
    // Of several steps, the one that counts is shown at once.
    let is_open = report.steps.len() == 1 || report.last_good_step == Some(at);
    let open = if is_open { " open" } else { "" };
    let _ = writeln!(html, "<details{open}><summary>Plots of this step</summary>");
    plots(html, report, step);
    html.push_str("</details>\n</section>\n");
}

fn plots(html: &mut String, report: &Report, step: &Step) {
    if !step.curve.is_empty() {
        html.push_str(&percentile_plot(step).inline());
    }
    if step.series.len() > 1 {
        html.push_str(&rate_plot(report, step).inline());
        html.push_str(&latency_plot(step).inline());
        if !step.errors.is_empty() {
            html.push_str(&error_plot(step).inline());
        }
    }
    if !step.backends.is_empty() {
        html.push_str(&backend_bars(step).inline());
        if step.backends.len() > 1 {
            let _ = writeln!(html, "<p class=\"soft\">Here {}.</p>", evenness_words(step));
        }
    }
}

fn counts_table(html: &mut String, report: &Report, step: &Step) {
    let own = &step.generator;
    let optional = |percent: Option<f64>| percent.map_or("-".to_owned(), |p| format!("{p:.0} %"));
    let mut rows = vec![
        (format!("{} begun", capital(report.noun())), grouped(step.started as f64)),
        ("completed".into(), grouped(step.completed as f64)),
        ("lost".into(), format!("{} ({} %)", grouped(step.lost as f64), step.loss_percent)),
        ("completed a second".into(), grouped(step.completed_per_second)),
        ("seconds measured".into(), format!("{:.3}", step.seconds)),
        ("most flows open at once".into(), grouped(step.flows_open_max as f64)),
    ];
    if report.protocol == "udp" {
        rows.push(("overtaken by later ones".into(), grouped(step.reordered as f64)));
        rows.push(("answered twice".into(), grouped(step.duplicated as f64)));
    } else {
        rows.push(("connections opened".into(), grouped(step.connections_opened as f64)));
        rows.push(("opened again".into(), grouped(step.connections_reopened as f64)));
    }
    rows.extend([
        ("processors used by the generator".into(), format!("{:.2}", own.processors_used)),
        ("its busiest thread".into(), format!("{:.0} %", own.busiest_thread_percent)),
        ("slots it was late for".into(), grouped(own.slots_late as f64)),
        ("slots never begun, all flows busy".into(), grouped(own.slots_unsent as f64)),
        ("this machine busy".into(), optional(own.machine_busy_percent)),
        ("of this machine stolen".into(), optional(own.machine_stolen_percent)),
    ]);
    html.push_str("<div class=\"wide\"><table>\n<caption>Counts</caption>\n<tbody>\n");
    for pair in rows.chunks(2) {
        html.push_str("<tr>");
        for (name, value) in pair {
            let _ = write!(html, "<th scope=\"row\">{name}</th><td>{value}</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
}

fn latency_table(html: &mut String, step: &Step) {
    let rows = [("answer", &step.latency_us), ("connection established", &step.connect_us)];
    if rows.iter().all(|row| row.1.is_none()) {
        return;
    }
    let names = || PERCENTILES.iter().map(|(name, _)| *name).chain(["mean"]);
    let heads = names().map(|name| format!("<th scope=\"col\">{name}</th>")).collect::<String>();
    let _ = writeln!(
        html,
        "<div class=\"wide\"><table>\n<caption>Latency</caption>\n\
         <thead><tr><th scope=\"col\">until</th>{heads}</tr></thead>\n<tbody>"
    );
    for (what, figures) in rows {
        let Some(figures) = figures else { continue };
        let cell = |name| figures.get(name).map_or("-".to_owned(), |value| micros(*value));
        let cells = names().map(|name| format!("<td>{}</td>", cell(name))).collect::<String>();
        let _ = writeln!(html, "<tr><th scope=\"row\">{what}</th>{cells}</tr>");
    }
    html.push_str("</tbody></table></div>\n");
}

fn faults_table(html: &mut String, step: &Step) {
    if step.faults.is_empty() {
        return;
    }
    html.push_str(
        "<div class=\"wide\"><table class=\"text\">\n<caption>Errors</caption>\n<thead><tr>\
         <th scope=\"col\">What</th><th scope=\"col\">How often</th>\
         <th scope=\"col\">What to do</th></tr></thead>\n<tbody>\n",
    );
    for (fault, count) in &step.faults {
        let (words, cure) = (escaped(fault.words()), escaped(fault.cure()));
        let count = grouped(*count as f64);
        let _ = writeln!(html, "<tr><td>{words}</td><td>{count}</td><td>{cure}</td></tr>");
    }
    html.push_str("</tbody></table></div>\n");
}

/// Latency over the share of all that were faster; every nine has the same room.
fn percentile_plot(step: &Step) -> Plot {
    let nines = |share: f64| -(1.0 - share).log10();
    let last = step.curve.last().map_or(0.0, |point| nines(point.0));
    let names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
    let marks = names.iter().enumerate().map(|(at, name)| (at as f64, (*name).to_owned()));
    let marks: Vec<(f64, String)> = marks.filter(|mark| mark.0 < last + 1.0).collect();
    let points = step.curve.iter().map(|(share, micros)| (nines(*share), *micros / 1e3)).collect();
    Plot {
        title: "Latency by percentile".into(),
        x: Scale::new("share of all that were at most so slow", false).marked(marks),
        y: milliseconds(),
        curves: vec![Curve { name: "latency".into(), points }],
    }
}

/// A figure of each second, of several together where there are many: their mean or their most.
fn over_time(
    step: &Step,
    name: &str,
    is_mean: bool,
    value: impl Fn(&Second) -> Option<f64>,
) -> Curve {
    let together = step.series.len().div_ceil(POINTS_MAX).max(1);
    let points = step.series.chunks(together).filter_map(|seconds| {
        let values: Vec<f64> = seconds.iter().filter_map(&value).collect();
        let first = seconds.first()?.second as f64;
        let mean = || values.iter().sum::<f64>() / values.len() as f64;
        let most = || values.iter().copied().fold(0.0, f64::max);
        (!values.is_empty()).then(|| (first, if is_mean { mean() } else { most() }))
    });
    Curve { name: name.to_owned(), points: points.collect() }
}

fn milliseconds() -> Scale {
    Scale::new("milliseconds", true)
}

fn seconds() -> Scale {
    Scale::new("seconds", false)
}

fn rate_plot(report: &Report, step: &Step) -> Plot {
    let offered = step.offered_per_second;
    let offered = offered.map(|rate| over_time(step, "offered", true, |_| Some(rate)));
    let done = over_time(step, "completed", true, |second| Some(second.completed as f64));
    Plot {
        title: format!("{} over time", capital(report.noun())),
        x: seconds(),
        y: Scale::new("a second", false),
        curves: offered.into_iter().chain([done]).collect(),
    }
}

fn latency_plot(step: &Step) -> Plot {
    let curves = vec![
        over_time(step, "p50", false, |second| Some(second.p50_us? / 1e3)),
        over_time(step, "p99", false, |second| Some(second.p99_us? / 1e3)),
    ];
    let (title, y) = ("Latency over time".into(), milliseconds());
    Plot { title, x: seconds(), y, curves }
}

fn error_plot(step: &Step) -> Plot {
    let curves = vec![over_time(step, "errors", true, |second| Some(second.failed as f64))];
    let (title, y) = ("Errors over time".into(), Scale::new("a second", false));
    Plot { title, x: seconds(), y, curves }
}

fn backend_bars(step: &Step) -> Bars {
    let total: u64 = step.backends.values().sum();
    let share = |count: f64| count * 100.0 / total.max(1) as f64;
    let bars = step.backends.iter().map(|(name, count)| {
        let percent = share(*count as f64);
        (name.clone(), percent, format!("{percent:.1} % ({})", grouped(*count as f64)))
    });
    let even = 100.0 / step.backends.len() as f64;
    let spread = share(2.0 * deviation(&step.backends, total));
    let band = (even - spread, even + spread, "an even share, as chance has it".to_owned());
    Bars {
        title: "Answers by backend".into(),
        bars: bars.collect(),
        band: (step.backends.len() > 1).then_some(band),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::sample;

    #[test]
    fn the_page_has_everything_and_loads_nothing() {
        let html = page(&sample());
        for words in [
            "last good step: 1,000 connections a second with 16 flows",
            "<h2>All steps</h2>",
            "id=\"step-2\"",
            "Latency by percentile",
            "Connections over time",
            "Latency over time",
            "Errors over time",
            "Answers by backend",
            "b&lt;1&gt;",
            "connection reset",
            "Sample &lt;CPU&gt;",
            "prefers-color-scheme: dark",
        ] {
            assert!(html.contains(words), "{words:?} is not on the page");
        }
        for forbidden in ["<script", "src=", "url(", "@import", "b<1>", "NaN"] {
            assert!(!html.contains(forbidden), "{forbidden:?} is on the page");
        }
        let addresses = html.matches("http").count();
        assert_eq!(addresses, html.matches("http://www.w3.org/2000/svg").count());
        for tag in ["section", "table", "div", "svg", "ul", "tr"] {
            let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
            assert_eq!(html.matches(&close).count(), html.matches(&open).count(), "{tag}");
        }
    }

    #[test]
    fn a_day_of_seconds_is_a_curve_all_the_same() {
        let mut report = sample();
        let second = |second| Second { second, completed: second % 2, ..Second::default() };
        report.steps[0].series = (0..86_400).map(second).collect();
        let curve = over_time(&report.steps[0], "x", true, |second| Some(second.completed as f64));
        assert_eq!(curve.points.len(), POINTS_MAX);
        assert!(curve.points.iter().all(|point| (point.1 - 0.5).abs() < 1e-9));
    }
}

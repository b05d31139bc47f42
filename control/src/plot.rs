//! Curves and bars as SVG: axes, a legend, a marker for each point. No fonts but the viewer's, and
//! colours that suit light and dark viewers.
//!
//! Used by the reports of `adit bench` and by the project's own comparisons. Names come from
//! anywhere, so they are made text, never markup. A value that is no number is left out.

use std::fmt::Write;

/// What makes pictures follow the viewer's colours; once in each document. The colours of curves
/// are those of Okabe and Ito, which people with any kind of sight can tell apart.
pub const STYLE: &str = "\
.plot{--ink:#1b1f24;--soft:#57606a;--grid:#d8dee4;--paper:#ffffff;font:12px system-ui,sans-serif}\
.plot text{fill:var(--ink)}.plot .title{font-size:16px}.plot .soft{fill:var(--soft)}\
.plot .paper{fill:var(--paper)}.plot .grid{stroke:var(--grid);fill:none}\
.plot .axis{stroke:var(--soft);fill:none}.plot .line{fill:none;stroke-width:2}\
.plot .dashed{stroke-dasharray:6 4}\
.plot .band{fill:var(--soft);opacity:.22}\
.plot .s0{stroke:#0072b2}.plot .s1{stroke:#d55e00}.plot .s2{stroke:#009e73}\
.plot .s3{stroke:#cc79a7}.plot .s4{stroke:#56b4e9}.plot .s5{stroke:#e69f00}\
.plot .s6{stroke:var(--ink)}.plot .s7{stroke:#999999}\
.plot .f0{fill:#0072b2}.plot .f1{fill:#d55e00}.plot .f2{fill:#009e73}.plot .f3{fill:#cc79a7}\
.plot .f4{fill:#56b4e9}.plot .f5{fill:#e69f00}.plot .f6{fill:var(--ink)}.plot .f7{fill:#999999}\
@media (prefers-color-scheme:dark){\
.plot{--ink:#e6edf3;--soft:#9aa4af;--grid:#30363d;--paper:#0d1117}\
.plot .s0{stroke:#4ba3e3}.plot .f0{fill:#4ba3e3}.plot .s1{stroke:#f0883e}.plot .f1{fill:#f0883e}\
.plot .s2{stroke:#2ec27e}.plot .f2{fill:#2ec27e}}";

const COLOURS: usize = 8;
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
/// The area of the curves: left, top, right, bottom.
const AREA: [f64; 4] = [80.0, 50.0, 650.0, 360.0];
/// More points than this have no markers.
const MARKERS_MAX: usize = 40;

/// A line through points.
#[derive(Clone, Debug)]
pub struct Curve {
    /// For the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Scale {
    /// What it shows.
    pub name: String,
    /// Values to mark, with their names; without them, round ones.
    pub marks: Vec<(f64, String)>,
    /// Whether distances are those of logarithms.
    pub is_logarithmic: bool,
}

impl Scale {
    /// With round marks.
    #[must_use]
    pub fn new(name: impl Into<String>, is_logarithmic: bool) -> Scale {
        Scale { name: name.into(), marks: Vec::new(), is_logarithmic }
    }

    /// With these marks, of which the outermost are its ends.
    #[must_use]
    pub fn marked(self, marks: Vec<(f64, String)>) -> Scale {
        Scale { marks, ..self }
    }
}

/// A picture of some curves.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above it.
    pub title: String,
    /// From left to right.
    pub x: Scale,
    /// From bottom to top.
    pub y: Scale,
    /// What it shows.
    pub curves: Vec<Curve>,
}

/// Values between two bounds, laid out between two places.
struct Axis {
    bounds: (f64, f64),
    places: (f64, f64),
    logarithmic: bool,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.max(1e-9).ln() } else { value };
        let (low, high) = (scale(self.bounds.0), scale(self.bounds.1));
        let share = if high > low { (scale(value) - low) / (high - low) } else { 0.5 };
        self.places.0 + share * (self.places.1 - self.places.0)
    }

    /// Round values to mark.
    fn marks(&self) -> Vec<f64> {
        let (low, high) = self.bounds;
        if self.logarithmic {
            let steps = (-3..9).flat_map(|power| [1.0, 2.0, 5.0].map(|of| of * 10_f64.powi(power)));
            let all: Vec<f64> = steps.filter(|mark| (low..=high).contains(mark)).collect();
            // Many powers of ten leave no room between them.
            let is_power = |mark: &f64| (mark.log10() - mark.log10().round()).abs() < 1e-6;
            let is_crowded = all.len() > 9;
            return all.into_iter().filter(|mark| !is_crowded || is_power(mark)).collect();
        }
        let rough = (high - low) / 6.0;
        let power = 10_f64.powf(rough.max(1e-9).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let first = (low / step).ceil() * step;
        (0..20).map(|at| first + f64::from(at) * step).take_while(|mark| *mark <= high).collect()
    }
}

impl Plot {
    /// The picture, for a document that has [`STYLE`].
    #[must_use]
    pub fn inline(&self) -> String {
        let mut svg = head(&self.title, &self.description(), HEIGHT);
        let (x, y) = self.axes();
        self.draw_axes(&mut svg, &x, &y);
        for (at, curve) in self.curves.iter().filter(|curve| !curve.points.is_empty()).enumerate() {
            draw_curve(&mut svg, curve, at, &x, &y);
        }
        svg + "</svg>\n"
    }

    /// The picture, as a document of its own.
    #[must_use]
    pub fn draw(&self) -> String {
        styled(&self.inline())
    }

    /// For those who do not see it.
    fn description(&self) -> String {
        let names: Vec<&str> = self.curves.iter().map(|curve| curve.name.as_str()).collect();
        format!("{} over {}: {}", self.y.name, self.x.name, names.join(", "))
    }

    fn axes(&self) -> (Axis, Axis) {
        let [left, top, right, bottom] = AREA;
        let points = || {
            let points = self.curves.iter().flat_map(|curve| &curve.points);
            points.filter(|point| point.0.is_finite() && point.1.is_finite())
        };
        let most = points().map(|point| point.1).fold(0.0, f64::max);
        let least = points().map(|point| point.1).fold(f64::INFINITY, f64::min).min(most);
        let low = if self.y.is_logarithmic { least * 0.9 } else { 0.0 };
        let marks = self.x.marks.iter().map(|mark| mark.0);
        let shown: Vec<f64> = if self.x.marks.is_empty() {
            points().map(|point| point.0).collect()
        } else {
            marks.collect()
        };
        let first = shown.iter().copied().fold(f64::INFINITY, f64::min);
        let last = shown.iter().copied().fold(first, f64::max);
        let logarithmic = self.x.is_logarithmic;
        let x = Axis { bounds: (first, last), places: (left, right), logarithmic };
        // Something must be above zero, or there is no scale.
        let high = if most > 0.0 { most * 1.1 } else { 1.0 };
        let (places, logarithmic) = ((bottom, top), self.y.is_logarithmic);
        (x, Axis { bounds: (low, high), places, logarithmic })
    }

    // Writing to a string does not fail.
    fn draw_axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let [left, top, right, bottom] = AREA;
        for mark in y.marks() {
            let at = y.place(mark);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                at + 4.0,
                short(mark)
            );
        }
        let round = || x.marks().into_iter().map(|mark| (mark, short(mark))).collect();
        let marks = if self.x.marks.is_empty() { round() } else { self.x.marks.clone() };
        for (mark, name) in &marks {
            let at = x.place(*mark);
            let _ = writeln!(
                svg,
                "<path class=\"axis\" d=\"M{at:.1} {bottom}v5\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 20.0,
                escaped(name)
            );
        }
        let middle = (top + bottom) / 2.0;
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/>\n\
             <text class=\"soft\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text class=\"soft\" transform=\"translate(18 {middle}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            bottom + 42.0,
            escaped(&self.x.name),
            escaped(&self.y.name)
        );
    }
}

/// The beginning of a picture.
fn head(title: &str, description: &str, height: f64) -> String {
    let (title, description) = (escaped(title), escaped(description));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" \
         viewBox=\"0 0 {WIDTH} {height}\">\n<title>{title}</title><desc>{description}</desc>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"{}\" y=\"28\">{title}</text>\n",
        AREA[0]
    )
}

fn styled(svg: &str) -> String {
    svg.replacen("<title>", &format!("<style>{STYLE}</style>\n<title>"), 1)
}

/// A number as short as it goes.
fn short(value: f64) -> String {
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    match value.abs() {
        large if large >= 1e6 => format!("{}M", rounded(value / 1e6)),
        large if large >= 1e4 => format!("{}k", rounded(value / 1e3)),
        _ => rounded(value).to_string(),
    }
}

/// Text that is no markup.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML has no way to write most of them.
            control if control.is_control() => safe.push('?'),
            other => safe.push(other),
        }
    }
    safe
}

fn draw_curve(svg: &mut String, curve: &Curve, number: usize, x: &Axis, y: &Axis) {
    let colour = number % COLOURS;
    // Colours that come a second time are told from the first by their lines.
    let line = if number < COLOURS { "line" } else { "line dashed" };
    let points = curve.points.iter().filter(|point| point.0.is_finite() && point.1.is_finite());
    let places: Vec<(f64, f64)> =
        points.map(|point| (x.place(point.0), y.place(point.1))).collect();
    let path = places.iter().map(|place| format!("{:.1},{:.1}", place.0, place.1));
    let path = path.collect::<Vec<_>>().join(" ");
    let _ = writeln!(svg, "<polyline class=\"{line} s{colour}\" points=\"{path}\"/>");
    let has_markers = places.len() <= MARKERS_MAX;
    for (at_x, at_y) in places.into_iter().filter(|_| has_markers) {
        let _ = writeln!(
            svg,
            "<circle class=\"f{colour}\" cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"3.5\"/>"
        );
    }
    let (left, top) = (AREA[2] + 24.0, AREA[1] + 10.0 + 22.0 * number as f64);
    let _ = writeln!(
        svg,
        "<path class=\"{line} s{colour}\" d=\"M{left} {top}h24\"/>\
         <text x=\"{}\" y=\"{}\">{}</text>",
        left + 32.0,
        top + 4.0,
        escaped(&curve.name)
    );
}

/// A picture of shares, one bar below the other.
#[derive(Clone, Debug)]
pub struct Bars {
    /// Above it.
    pub title: String,
    /// Name, value, and the words behind the bar.
    pub bars: Vec<(String, f64, String)>,
    /// A range to compare with, and its name.
    pub band: Option<(f64, f64, String)>,
}

impl Bars {
    const LEFT: f64 = 200.0;
    const ROW: f64 = 28.0;
    const TOP: f64 = 48.0;

    /// The picture, for a document that has [`STYLE`].
    #[must_use]
    pub fn inline(&self) -> String {
        let end = Self::TOP + Self::ROW * self.bars.len() as f64;
        let described: Vec<String> =
            self.bars.iter().map(|(name, _, words)| format!("{name}: {words}")).collect();
        let mut svg = head(&self.title, &described.join("; "), end + 34.0);
        let most = self.bars.iter().map(|bar| bar.1).fold(0.0, f64::max);
        let most = self.band.as_ref().map_or(most, |band| most.max(band.1)).max(1e-9);
        let axis = Axis { bounds: (0.0, most), places: (Self::LEFT, AREA[2]), logarithmic: false };
        for (at, (name, value, words)) in self.bars.iter().enumerate() {
            let (top, right) = (Self::TOP + Self::ROW * at as f64, axis.place(*value));
            let text = top + 15.0;
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"f0\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"20\"/>\
                 <text class=\"soft\" x=\"{:.1}\" y=\"{text:.1}\">{}</text>",
                Self::LEFT - 10.0,
                escaped(&cut(name)),
                Self::LEFT,
                right - Self::LEFT,
                AREA[2] + 16.0,
                escaped(words)
            );
        }
        if let Some((low, high, name)) = &self.band {
            let (left, right) = (axis.place(low.max(0.0)), axis.place(*high));
            let _ = writeln!(
                svg,
                "<rect class=\"band\" x=\"{left:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{:.1}\"/>\
                 <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                Self::TOP - 6.0,
                (right - left).max(2.0),
                end - Self::TOP + 6.0,
                f64::midpoint(left, right).min(AREA[2]),
                end + 18.0,
                escaped(name)
            );
        }
        svg + "</svg>\n"
    }
}

/// As much of a name as there is room for.
fn cut(name: &str) -> String {
    const MOST: usize = 26;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: &[(f64, f64)], is_logarithmic: bool) -> Plot {
        Plot {
            title: "A & B".into(),
            x: Scale::new("flows", false),
            y: Scale::new("rate", is_logarithmic),
            curves: vec![Curve { name: "<script>".into(), points: points.to_vec() }],
        }
    }

    #[test]
    fn names_are_text_and_the_viewers_colours_are_followed() {
        let svg = plot(&[(1.0, 10.0), (2.0, 20.0)], false).draw();
        assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script>"), "{svg}");
        assert!(svg.contains("<title>A &amp; B</title>") && svg.contains("role=\"img\""));
        assert!(svg.contains("prefers-color-scheme:dark"));
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(!plot(&[], false).inline().contains("prefers-color-scheme"));
    }

    #[test]
    fn points_are_where_they_belong() {
        let svg = plot(&[(0.0, 0.0), (10.0, 100.0)], false).inline();
        let [left, top, right, bottom] = AREA;
        let height = bottom - (bottom - top) / 1.1;
        assert!(svg.contains(&format!("points=\"{left:.1},{bottom:.1} {right:.1},{height:.1}\"")));
    }

    #[test]
    fn nothing_breaks_a_picture() {
        for points in [&[][..], &[(0.0, 0.0)], &[(f64::NAN, 1.0), (1.0, f64::INFINITY)]] {
            for is_logarithmic in [false, true] {
                let svg = plot(points, is_logarithmic).inline();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{points:?}: {svg}");
            }
        }
        let none = Bars { title: "none".into(), bars: Vec::new(), band: None };
        assert!(!none.inline().contains("NaN"));
    }

    #[test]
    fn bars_have_their_length() {
        let bars = Bars {
            title: "shares".into(),
            bars: vec![("a".into(), 10.0, "10 %".into()), ("b".repeat(99), 5.0, "5 %".into())],
            band: Some((6.0, 9.0, "even".into())),
        };
        let svg = bars.inline();
        assert!(svg.contains("width=\"450.0\"") && svg.contains("width=\"225.0\""), "{svg}");
        assert!(svg.contains("b…") && svg.contains("even") && svg.contains("a: 10 %"), "{svg}");
    }

    #[test]
    fn marks_are_round() {
        let axis = Axis { bounds: (130.0, 610.0), places: (0.0, 1.0), logarithmic: false };
        assert_eq!(axis.marks(), [200.0, 300.0, 400.0, 500.0, 600.0]);
    }

    #[test]
    fn many_powers_of_ten_leave_room() {
        let axis = Axis { bounds: (1.0, 1e6), places: (0.0, 1.0), logarithmic: true };
        assert_eq!(axis.marks(), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]);
        assert_eq!(
            (short(1e6), short(25_000.0), short(0.5)),
            ("1M".into(), "25k".into(), "0.5".into())
        );
    }
}

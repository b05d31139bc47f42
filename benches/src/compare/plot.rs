//! Curves as SVG: axes, a legend, a marker for each point. No fonts but the viewer's.

use std::fmt::Write;

/// Colours that people with any kind of sight can tell apart (Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999"];

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
/// The area of the curves: left, top, right, bottom.
const AREA: [f64; 4] = [80.0, 50.0, 650.0, 360.0];

/// A line through points.
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// A picture of some curves.
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// Name, marks, and whether distances are those of logarithms.
    pub(super) x: (&'static str, Vec<(f64, String)>, bool),
    pub(super) y: (&'static str, bool),
    pub(super) curves: Vec<Curve>,
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
            return steps.filter(|mark| (low..=high).contains(mark)).collect();
        }
        let rough = (high - low) / 6.0;
        let power = 10_f64.powf(rough.max(1e-9).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        (0..20).map(|at| low + f64::from(at) * step).take_while(|mark| *mark <= high).collect()
    }
}

impl Plot {
    /// The picture.
    pub(super) fn draw(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{}\" y=\"28\" font-size=\"16\">{}</text>\n",
            AREA[0], self.title
        );
        let (x, y) = self.axes();
        self.draw_axes(&mut svg, &x, &y);
        for (at, curve) in self.curves.iter().filter(|curve| !curve.points.is_empty()).enumerate() {
            draw_curve(&mut svg, curve, at, &x, &y);
        }
        svg + "</svg>\n"
    }

    fn axes(&self) -> (Axis, Axis) {
        let [left, top, right, bottom] = AREA;
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let most = points().map(|point| point.1).fold(0.0, f64::max);
        let least = points().map(|point| point.1).fold(f64::INFINITY, f64::min).min(most);
        let low = if self.y.1 { least * 0.9 } else { 0.0 };
        let marks = self.x.1.iter().map(|mark| mark.0);
        let first = marks.clone().fold(f64::INFINITY, f64::min);
        let last = marks.fold(first, f64::max);
        let x = Axis { bounds: (first, last), places: (left, right), logarithmic: self.x.2 };
        let bounds = (low, most * 1.1);
        (x, Axis { bounds, places: (bottom, top), logarithmic: self.y.1 })
    }

    // Writing to a string does not fail.
    fn draw_axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let [left, top, right, bottom] = AREA;
        for mark in y.marks() {
            let at = y.place(mark);
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                at + 4.0,
                (mark * 1000.0).round() / 1000.0
            );
        }
        for (mark, name) in &self.x.1 {
            let at = x.place(*mark);
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {bottom}v5\" stroke=\"black\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                bottom + 20.0
            );
        }
        let middle = (top + bottom) / 2.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(24 {middle}) rotate(-90)\" text-anchor=\"middle\">\
             {}</text>",
            (left + right) / 2.0,
            bottom + 42.0,
            self.x.0,
            self.y.0
        );
    }
}

fn draw_curve(svg: &mut String, curve: &Curve, number: usize, x: &Axis, y: &Axis) {
    let colour = COLOURS[number % COLOURS.len()];
    let places = curve.points.iter().map(|point| (x.place(point.0), y.place(point.1)));
    let places: Vec<(f64, f64)> = places.collect();
    let path = places.iter().map(|place| format!("{:.1},{:.1}", place.0, place.1));
    let path = path.collect::<Vec<_>>().join(" ");
    let _ = writeln!(
        svg,
        "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
    for (at_x, at_y) in places {
        let _ = writeln!(
            svg,
            "<circle cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
        );
    }
    let (left, top) = (AREA[2] + 24.0, AREA[1] + 10.0 + 22.0 * number as f64);
    let _ = writeln!(
        svg,
        "<path d=\"M{left} {top}h24\" stroke=\"{colour}\" stroke-width=\"2\"/>\
         <text x=\"{}\" y=\"{}\">{}</text>",
        left + 32.0,
        top + 4.0,
        curve.name
    );
}

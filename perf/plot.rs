//! Pictures: lines over two axes that say what they are and in which unit.

use std::io;
use std::path::Path;

use plotters::prelude::*;

/// One axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// What it is, with its unit.
    pub(crate) name: &'static str,
    pub(crate) scale: Scale,
}

/// What the places of an axis stand for.
#[derive(Clone, Debug)]
pub(crate) enum Scale {
    Linear,
    /// Powers of ten.
    Log,
    /// 0, 1, 2, .. have names.
    Names(Vec<&'static str>),
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A picture.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
    /// Where no line is.
    pub(crate) legend: Corner,
}

/// Where the names of the lines stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Corner {
    UpperLeft,
    UpperRight,
    LowerRight,
}

const SIZE: (u32, u32) = (800, 480);
/// Far enough apart for those who do not see colours well.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
];

impl Scale {
    fn place(&self, value: f64) -> f64 {
        match self {
            Scale::Log => value.max(1e-3).log10(),
            Scale::Linear | Scale::Names(_) => value,
        }
    }

    /// From where to where the axis goes, and how many labels it bears.
    fn range(&self, places: impl Iterator<Item = f64>) -> (f64, f64, usize) {
        let (low, high) = places.fold((f64::MAX, f64::MIN), |(l, h), p| (l.min(p), h.max(p)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        match self {
            Scale::Linear => (0.0, if high > 0.0 { high * 1.08 } else { 1.0 }, 8),
            Scale::Log => {
                let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
                (low, high, (high - low) as usize + 1)
            }
            Scale::Names(names) => (-0.2, names.len() as f64 - 0.8, names.len() + 1),
        }
    }

    fn label(&self, place: f64) -> String {
        let is_whole = (place - place.round()).abs() < 1e-6;
        match self {
            Scale::Linear => number(place),
            Scale::Log if is_whole => number(10f64.powf(place.round())),
            Scale::Names(names) if is_whole && place > -0.5 => {
                let name = names.get(place.round() as usize);
                name.map_or_else(String::new, |name| (*name).to_owned())
            }
            Scale::Log | Scale::Names(_) => String::new(),
        }
    }
}

/// A number as people write it, with thin groups.
pub(crate) fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 10.0 && value.fract() != 0.0 {
        let text = format!("{value:.3}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 {
        text.insert(0, '-');
    }
    text
}

impl Plot {
    /// Draws it into an SVG file.
    pub(crate) fn draw(&self, file: &Path) -> io::Result<()> {
        self.try_draw(file)
            .map_err(|error| io::Error::other(error.to_string()))
    }

    fn try_draw(&self, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = self
            .x
            .scale
            .range(points().map(|(x, _)| self.x.scale.place(*x)));
        let y = self
            .y
            .scale
            .range(points().map(|(_, y)| self.y.scale.place(*y)));
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 20))
            .margin(14)
            // Half of the last label stands beyond the axis.
            .margin_right(44)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        chart
            .configure_mesh()
            .x_desc(self.x.name)
            .y_desc(self.y.name)
            .x_labels(x.2)
            .y_labels(y.2)
            .x_label_formatter(&|place| self.x.scale.label(*place))
            .y_label_formatter(&|place| self.y.scale.label(*place))
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 15))
            .light_line_style(WHITE)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let place = |(x, y): &(f64, f64)| (self.x.scale.place(*x), self.y.scale.place(*y));
            let points: Vec<(f64, f64)> = line.points.iter().map(place).collect();
            let style = colour.stroke_width(2).filled();
            chart
                .draw_series(LineSeries::new(points, style).point_size(3))?
                .label(line.name.clone())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3))
                });
        }
        chart
            .configure_series_labels()
            .position(match self.legend {
                Corner::UpperLeft => SeriesLabelPosition::UpperLeft,
                Corner::UpperRight => SeriesLabelPosition::UpperRight,
                Corner::LowerRight => SeriesLabelPosition::LowerRight,
            })
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.4))
            .label_font(("sans-serif", 13))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let table = [
            (0.0, "0"),
            (0.25, "0.25"),
            (3.0, "3"),
            (999.4, "999"),
            (1_000.0, "1,000"),
            (10_000_000.0, "10,000,000"),
            (-1_234.0, "-1,234"),
        ];
        for (value, want) in table {
            assert_eq!(number(value), want);
        }
    }

    #[test]
    fn a_picture_says_what_it_shows() {
        let file = std::env::temp_dir().join(format!("perf-plot-{}.svg", std::process::id()));
        let plot = Plot {
            title: "A title",
            x: Axis {
                name: "percentile",
                scale: Scale::Names(vec!["p50", "p99", "max"]),
            },
            y: Axis {
                name: "microseconds",
                scale: Scale::Log,
            },
            lines: vec![Line {
                name: "one".into(),
                points: vec![(0.0, 3.0), (1.0, 70.0), (2.0, 4_000.0)],
            }],
            legend: Corner::UpperLeft,
        };
        plot.draw(&file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        for word in [
            "A title",
            "percentile",
            "microseconds",
            "one",
            "p99",
            "10,000",
            "max",
        ] {
            assert!(text.contains(word), "{word}");
        }
    }
}

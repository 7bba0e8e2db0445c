//! Reads what `/metrics` shows, by the letter of OpenMetrics 1.0 as far as we use it. It knows no metric of ours.

use std::collections::{BTreeMap, BTreeSet};

/// A whole scrape, in which nothing is wrong.
#[derive(Debug)]
pub struct Scrape {
    pub families: Vec<Family>,
}

#[derive(Debug)]
pub struct Family {
    /// Of a counter without the `_total` of its samples.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Scrape {
    /// # Panics
    /// With what is wrong.
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        assert!(body.is_empty() || body.ends_with('\n'), "the last line is whole");
        let mut families: Vec<Family> = Vec::new();
        for line in body.lines() {
            if let Some(described) = line.strip_prefix("# HELP ") {
                let (name, help) = described.split_once(' ').expect("a help");
                assert!(is_name(name) && !help.trim().is_empty(), "{line}");
                let (name, help) = (name.to_owned(), help.to_owned());
                families.push(Family { name, help, kind: String::new(), samples: Vec::new() });
                continue;
            }
            let family = families.last_mut().unwrap_or_else(|| panic!("before any family: {line}"));
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, kind) = typed.split_once(' ').expect("a type");
                assert!(name == family.name && family.kind.is_empty() && family.samples.is_empty(), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                family.kind = kind.to_owned();
            } else {
                family.samples.push(Sample::parse(line).unwrap_or_else(|| panic!("not a sample: {line}")));
            }
        }
        let names: BTreeSet<_> = families.iter().map(|family| &family.name).collect();
        assert_eq!(names.len(), families.len(), "a family in two places");
        families.iter().for_each(Family::check);
        Self { families }
    }

    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    /// The value of the one series with this name and exactly these labels.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| {
            let similar: Vec<_> = self.samples().filter(|sample| sample.name == name).collect();
            panic!("no {name}{labels:?} among {similar:?}")
        })
    }

    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.samples().find(|sample| sample.name == name && sample.labels == labels).map(|sample| sample.value)
    }

    /// All values of a label.
    pub fn label_values(&self, name: &str, label: &str) -> BTreeSet<&str> {
        self.samples().filter(|sample| sample.name == name).map(|sample| sample.labels[label].as_str()).collect()
    }
}

impl Sample {
    /// `name{label="value",…} value`
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let value: f64 = value.parse().ok().filter(|value: &f64| value.is_finite())?;
        let Some((name, rest)) = series.split_once('{') else {
            return is_name(series).then(|| Self { name: series.to_owned(), labels: BTreeMap::new(), value });
        };
        let mut labels = BTreeMap::new();
        let mut rest = rest.strip_suffix('}')?;
        while !rest.is_empty() {
            let (label, after) = rest.split_once("=\"")?;
            let end = after.find('"')?;
            let (text, after) = after.split_at(end);
            // Nothing of ours needs to be escaped.
            let allowed = is_name(label) && !text.contains('\\');
            if !allowed || labels.insert(label.to_owned(), text.to_owned()).is_some() {
                return None;
            }
            rest = after.strip_prefix("\",").or_else(|| after.strip_prefix('"'))?;
        }
        (is_name(name) && !labels.is_empty()).then(|| Self { name: name.to_owned(), labels, value })
    }

    fn without_le(&self) -> (String, BTreeMap<String, String>) {
        let mut labels = self.labels.clone();
        labels.remove("le");
        (self.name.clone(), labels)
    }
}

impl Family {
    fn check(&self) {
        let Self { name, kind, samples, .. } = self;
        let mut series = BTreeSet::new();
        for sample in samples {
            assert!(series.insert((&sample.name, &sample.labels)), "twice: {sample:?}");
            let suffix = sample.name.strip_prefix(name.as_str()).unwrap_or_else(|| panic!("{sample:?} is in {name}"));
            let right = match kind.as_str() {
                "counter" => suffix == "_total" && sample.value >= 0.0,
                "gauge" => suffix.is_empty() && !name.ends_with("_total"),
                "histogram" => {
                    ["_sum", "_count"].contains(&suffix) && !sample.labels.contains_key("le")
                        || suffix == "_bucket" && sample.labels.contains_key("le")
                }
                _ => false,
            };
            assert!(right, "in the {kind} {name}: {sample:?}");
        }
        if kind == "histogram" {
            self.check_buckets();
        }
    }

    /// They are cumulative, in order, and end with all.
    fn check_buckets(&self) {
        let mut histograms: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        for bucket in self.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            let bound = match bucket.labels["le"].as_str() {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().unwrap_or_else(|_| panic!("{bucket:?}")),
            };
            histograms.entry(bucket.without_le().1).or_default().push((bound, bucket.value));
        }
        for (labels, buckets) in histograms {
            let grows = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let count = self.samples.iter().find(|sample| sample.name.ends_with("_count") && sample.labels == labels);
            let last = buckets.last().copied();
            assert!(grows && last == count.map(|count| (f64::INFINITY, count.value)), "{} {buckets:?}", self.name);
        }
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

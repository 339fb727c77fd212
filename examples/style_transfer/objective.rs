//! What the picture is changed for.

use crate::{options::Options, pictures::Pictures};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use tch::{Device, Kind, Tensor, nn::VarStore};
use tch_losses::perceptual::{
    ContentStyleLoss, ContentStyleTargets, FeatureExtractor, Features, GramNorm, ImageRange,
    Pooling, RandomFilters, StyleLoss, TotalVariationLoss, Vgg, VggKind, f_gram_matrix, weights,
};

/// The sizes of the random filters.
const SIZES: [i64; 8] = [3, 5, 7, 11, 15, 23, 37, 55];
type Network = Box<dyn FeatureExtractor>;

/// The weighted sum of content, style and total variation.
#[derive(Debug)]
pub struct Objective {
    likeness: Likeness,
    style_weight: f64,
    tv: TotalVariationLoss,
    tv_weight: f64,
    /// The network and its layers, for the user.
    pub summary: String,
}

#[derive(Debug)]
enum Likeness {
    Texture(StyleLoss<Network>, Features),
    Transfer(ContentStyleLoss<Network>, ContentStyleTargets),
}

/// The loss of a picture, and its parts before their weights.
#[derive(Debug)]
pub struct Losses {
    pub total: Tensor,
    pub content: Option<f64>,
    pub style: f64,
    pub tv: f64,
}

impl Objective {
    pub fn new(options: &Options, pictures: &Pictures, device: Device) -> Result<Self> {
        let known = match &options.weights {
            Some(_) => VggKind::Vgg19.layers(),
            None => SIZES.map(|size| format!("filters{size}")).to_vec(),
        };
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let usual_style = match &options.weights {
            Some(_) => names(&["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]),
            None => known[..6].to_vec(),
        };
        let usual_content = match &options.weights {
            Some(_) => names(&["relu4_2"]),
            None => names(&["filters3", "filters7"]),
        };
        let style = find("layers", options.layers.as_ref().unwrap_or(&usual_style), &known)?;
        let content = match options.content {
            Some(_) => {
                let wanted = options.content_layers.as_ref().unwrap_or(&usual_content);
                find("content-layers", wanted, &known)?
            }
            None => Vec::new(),
        };
        let mut all = [&style[..], &content].concat();
        all.sort_unstable();
        all.dedup();
        // Numbers among the layers that the network gives.
        let places = |layers: &[usize]| -> Vec<usize> {
            layers.iter().filter_map(|layer| all.iter().position(|known| known == layer)).collect()
        };
        let (style, content) = (places(&style), places(&content));

        let layers: Vec<&str> = all.iter().map(|&layer| &known[layer][..]).collect();
        let network: Network = match &options.weights {
            Some(path) => Box::new(vgg(path, &layers, device)?),
            None => {
                let sizes: Vec<i64> = all.iter().map(|&layer| SIZES[layer]).collect();
                let filters = RandomFilters::default().sizes(sizes).channels(options.channels);
                Box::new(filters.seed(options.run.seed).range(ImageRange::Symmetric))
            }
        };
        let of_style = style.iter().map(|&layer| layers[layer]).collect::<Vec<_>>().join(",");
        let mut summary = match &options.weights {
            Some(path) => format!("VGG19 of {}: style {of_style}", path.display()),
            None => format!(
                "no --weights: {} random filters of each size, which do for stationary textures; style {of_style}",
                options.channels
            ),
        };
        // A loss is 1 where a picture has no features at all, whatever the network and the picture.
        let scale = |squares: Vec<f64>| -> Vec<f64> {
            let layers = squares.len() as f64;
            squares.into_iter().map(|square| 1.0 / (layers * square.max(1e-12))).collect()
        };
        let square = |t: &Tensor| t.square().mean(Kind::Double).double_value(&[]);
        let maps = tch::no_grad(|| network.f_features(&pictures.style)).context("--style")?;
        let grams = style
            .iter()
            .map(|&layer| Ok(square(&f_gram_matrix(&maps[layer], GramNorm::Normalised)?)));
        let style_weights = scale(grams.collect::<Result<_>>()?);
        let likeness = match &pictures.content {
            None => {
                let loss = StyleLoss::new(network).layer_weights(style_weights);
                let target = loss.f_features(&pictures.style)?;
                Likeness::Texture(loss, target)
            }
            Some(picture) => {
                let of_content: Vec<&str> = content.iter().map(|&layer| layers[layer]).collect();
                summary = format!("{summary}; content {}", of_content.join(","));
                let maps = tch::no_grad(|| network.f_features(picture)).context("--content")?;
                let content_weights =
                    scale(content.iter().map(|&layer| square(&maps[layer])).collect());
                let loss = ContentStyleLoss::new(network)
                    .alpha(options.content_weight)
                    .beta(options.style_weight)
                    .content_layers(content)
                    .style_layers(style)
                    .content_weights(content_weights)
                    .style_weights(style_weights);
                let targets = loss.f_targets(picture, &pictures.style)?;
                Likeness::Transfer(loss, targets)
            }
        };
        Ok(Objective {
            likeness,
            style_weight: options.style_weight,
            tv: TotalVariationLoss::default().per_pixel(true),
            tv_weight: options.tv_weight,
            summary,
        })
    }

    pub fn losses(&self, picture: &Tensor) -> Result<Losses> {
        let tv = self.tv.f_forward(picture)?;
        let (likeness, content, style) = match &self.likeness {
            Likeness::Texture(loss, target) => {
                let style = loss.f_forward_with(picture, target)?;
                (&style * self.style_weight, None, style)
            }
            Likeness::Transfer(loss, targets) => {
                let parts = loss.f_forward(picture, targets)?;
                (parts.total, Some(parts.content.double_value(&[])), parts.style)
            }
        };
        Ok(Losses {
            total: likeness + &tv * self.tv_weight,
            content,
            style: style.double_value(&[]),
            tv: tv.double_value(&[]),
        })
    }
}

/// The places of some layers among those that there are, rising.
fn find(option: &str, wanted: &[String], known: &[String]) -> Result<Vec<usize>> {
    let place = |name: &String| match known.iter().position(|known| known == name.trim()) {
        Some(place) => Ok(place),
        None => bail!("--{option}: there is no layer `{name}`, but {}", known.join(", ")),
    };
    let mut places = wanted.iter().map(place).collect::<Result<Vec<_>>>()?;
    places.sort_unstable();
    places.dedup();
    ensure!(!places.is_empty(), "--{option}: expected at least one layer");
    Ok(places)
}

/// With the mean of four in the place of the greatest, as Gatys et al. do.
fn vgg(path: &Path, layers: &[&str], device: Device) -> Result<Vgg> {
    let mut vs = VarStore::new(device);
    let vgg = Vgg::f_new(&vs.root(), VggKind::Vgg19, layers, ImageRange::Symmetric)?;
    weights::f_load(&mut vs, path, true).context("--weights")?;
    Ok(vgg.pooling(Pooling::Average))
}

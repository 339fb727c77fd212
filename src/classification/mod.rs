//! Cross entropy and its kin, binary and softmax, with the focal family, margins and divergences;
//! class weights and softmax with a temperature.

mod asymmetric;
mod balanced;
mod binary;
mod categorical;
mod class_weights;
mod cross_entropy;
mod divergence;
mod focal;
mod generalized;
mod hinge;
mod matrix;
mod one_vs_rest;
mod poly;
mod soft_margin;
mod target;
mod temperature;
mod top_k;

use crate::loss::Entry;

pub use asymmetric::{AsymmetricLossMultiLabel, AsymmetricLossSingleLabel};
pub use balanced::{Balance, BalancedBceWithLogitsLoss};
pub use binary::{BceLoss, BceWithLogitsLoss};
pub use categorical::{
    BinaryFocalCrossEntropyLoss, CategoricalCrossEntropyLoss, CategoricalFocalCrossEntropyLoss,
};
pub use class_weights::{
    class_counts, effective_number_weights, f_class_counts, f_effective_number_weights,
    f_inverse_frequency_weights, f_negatives_per_positive, inverse_frequency_weights,
    negatives_per_positive,
};
pub(crate) use cross_entropy::over_count;
pub use cross_entropy::{CrossEntropyLoss, LabelSmoothing, NllLoss, SoftTargetCrossEntropy};
pub use divergence::{Distribution, JsDivLoss, JsdCrossEntropy, KlDivLoss};
pub use focal::{FocalLoss, SoftmaxFocalLoss};
pub(crate) use focal::{smallest, softplus};
pub use generalized::GeneralizedCrossEntropyLoss;
pub use hinge::{
    BinaryLabels, CategoricalHingeLoss, HingeEmbeddingLoss, HingeLoss, MarginRankingLoss,
    MultiMarginLoss,
};
pub use matrix::MatrixCrossEntropyLoss;
pub use one_vs_rest::OneVsRestBceLoss;
pub use poly::{PolyBceWithLogitsLoss, PolyCrossEntropyLoss};
pub use soft_margin::{MultiLabelMarginLoss, MultiLabelSoftMarginLoss, SoftMarginLoss};
pub(crate) use target::Classes;
pub use temperature::{
    f_log_softmax_with_temperature, f_softmax_with_temperature, log_softmax_with_temperature,
    softmax_with_temperature,
};
pub use top_k::TopKCrossEntropyLoss;

pub(crate) fn entries() -> Vec<Entry> {
    [
        CrossEntropyLoss::entries(),
        LabelSmoothing::entries(),
        SoftTargetCrossEntropy::entries(),
        NllLoss::entries(),
        CategoricalCrossEntropyLoss::entries(),
        TopKCrossEntropyLoss::entries(),
        GeneralizedCrossEntropyLoss::entries(),
        PolyCrossEntropyLoss::entries(),
        AsymmetricLossSingleLabel::entries(),
        JsdCrossEntropy::entries(),
        MatrixCrossEntropyLoss::entries(),
        BceWithLogitsLoss::entries(),
        BceLoss::entries(),
        BalancedBceWithLogitsLoss::entries(),
        OneVsRestBceLoss::entries(),
        PolyBceWithLogitsLoss::entries(),
        AsymmetricLossMultiLabel::entries(),
        FocalLoss::entries(),
        BinaryFocalCrossEntropyLoss::entries(),
        SoftmaxFocalLoss::entries(),
        CategoricalFocalCrossEntropyLoss::entries(),
        KlDivLoss::entries(),
        JsDivLoss::entries(),
        HingeLoss::entries(),
        CategoricalHingeLoss::entries(),
        HingeEmbeddingLoss::entries(),
        MarginRankingLoss::entries(),
        MultiMarginLoss::entries(),
        SoftMarginLoss::entries(),
        MultiLabelMarginLoss::entries(),
        MultiLabelSoftMarginLoss::entries(),
    ]
    .concat()
}

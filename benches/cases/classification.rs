//! The kin of cross entropy; `scripts/bench_torch_classification.py` has PyTorch's side.

use super::{CPU, Inputs, Job, job};
use tch::{Device, Kind, Tensor};
use tch_losses::{
    AsymmetricLossMultiLabel, AsymmetricLossSingleLabel, BalancedBceWithLogitsLoss,
    BinaryFocalCrossEntropyLoss, CategoricalCrossEntropyLoss, CategoricalFocalCrossEntropyLoss,
    CategoricalHingeLoss, GeneralizedCrossEntropyLoss, HingeEmbeddingLoss, HingeLoss, JsDivLoss,
    JsdCrossEntropy, KlDivLoss, Loss, MarginRankingLoss, MatrixCrossEntropyLoss,
    MultiLabelMarginLoss, MultiLabelSoftMarginLoss, MultiMarginLoss, NllLoss, OneVsRestBceLoss,
    PolyBceWithLogitsLoss, PolyCrossEntropyLoss, SoftMarginLoss, SoftTargetCrossEntropy,
    TopKCrossEntropyLoss,
    classification::{Balance, Distribution},
};

/// The case of that name, or nothing for a name that is not there.
pub fn case(name: &str, inputs: &Inputs) -> Option<Job> {
    Some(match name {
        "categorical_cross_entropy" => {
            inputs.class_probabilities(CategoricalCrossEntropyLoss::default())
        }
        "categorical_cross_entropy_dense" => {
            inputs.two_distributions(CategoricalCrossEntropyLoss::default())
        }
        "categorical_focal" => {
            inputs.two_distributions(CategoricalFocalCrossEntropyLoss::default())
        }
        "binary_focal" => {
            let input = inputs.leaf(Tensor::randn(inputs.size, CPU).sigmoid());
            let target = inputs.put(Tensor::rand(inputs.size, CPU).lt(0.1).to_kind(Kind::Float));
            job(BinaryFocalCrossEntropyLoss::default(), input, target)
        }
        "nll" => {
            let input = inputs.leaf(Tensor::randn(inputs.size, CPU).log_softmax(1, Kind::Float));
            job(NllLoss::default(), input, inputs.put(inputs.index()))
        }
        "soft_target" => inputs.distributions(SoftTargetCrossEntropy::default()),
        "one_vs_rest" => inputs.classes(OneVsRestBceLoss::default()),
        "generalized_cross_entropy" => inputs.classes(GeneralizedCrossEntropyLoss::default()),
        "poly_cross_entropy" => inputs.classes(PolyCrossEntropyLoss::default()),
        "poly_bce" => inputs.hard(PolyBceWithLogitsLoss::default(), Kind::Float),
        "asymmetric_multi_label" => inputs.hard(AsymmetricLossMultiLabel::default(), Kind::Float),
        "asymmetric_single_label" => inputs.classes(AsymmetricLossSingleLabel::default()),
        "balanced_bce" => {
            inputs.hard(BalancedBceWithLogitsLoss::default().beta(Balance::PerBatch), Kind::Float)
        }
        "jsd_cross_entropy" => inputs.classes(JsdCrossEntropy::default()),
        "matrix_cross_entropy" => {
            let classes = inputs.size[1];
            let matrix = inputs.put(Tensor::rand([classes, classes], CPU));
            inputs.class_probabilities(MatrixCrossEntropyLoss::default().with_matrix(matrix))
        }
        "kl_div" => {
            let input = inputs.leaf(Tensor::randn(inputs.size, CPU).log_softmax(1, Kind::Float));
            let target = inputs.put(Tensor::rand(inputs.size, CPU).softmax(1, Kind::Float));
            job(KlDivLoss::default().batch_mean(true), input, target)
        }
        "js_div" => inputs.distributions(JsDivLoss::default()),
        "js_div_probabilities" => {
            inputs.two_distributions(JsDivLoss::default().input(Distribution::Probabilities))
        }
        "top_k" => inputs.classes(TopKCrossEntropyLoss::default()),
        "top_k_ignore" => inputs.classes_ignored(TopKCrossEntropyLoss::default().ignore_index(255)),
        "hinge" => inputs.signs(HingeLoss::default()),
        "squared_hinge" => inputs.signs(HingeLoss::squared()),
        "soft_margin" => inputs.signs(SoftMarginLoss::default()),
        "hinge_embedding" => inputs.signs(HingeEmbeddingLoss::default()),
        "categorical_hinge" => inputs.classes(CategoricalHingeLoss::default()),
        "multi_margin" => inputs.classes(MultiMarginLoss::default()),
        "multi_label_soft_margin" => inputs.hard(MultiLabelSoftMarginLoss::default(), Kind::Float),
        "multi_label_margin" => {
            // Three labels a row.
            let logits = inputs.logits();
            let labels = Tensor::rand(inputs.size, CPU).argsort(1, false);
            let _ = labels.narrow(1, 3, 1).fill_(-1);
            job(MultiLabelMarginLoss::default(), logits, inputs.put(labels))
        }
        "margin_ranking" => {
            let [a, b] = [0, 1].map(|_| inputs.logits());
            let target =
                inputs.put(Tensor::randint(2, inputs.size, (Kind::Float, Device::Cpu)) * 2 - 1);
            let leaves = vec![a.shallow_clone(), b.shallow_clone()];
            let loss = MarginRankingLoss::default().margin(0.5);
            Job { forward: Box::new(move || loss.forward(&a, &b, &target)), leaves }
        }
        _ => return None,
    })
}

impl Inputs<'_> {
    fn probabilities(&self) -> Tensor {
        self.leaf(Tensor::randn(self.size, CPU).softmax(1, Kind::Float))
    }

    fn class_probabilities(&self, loss: impl Loss + 'static) -> Job {
        let probabilities = self.probabilities();
        job(loss, probabilities, self.put(self.index()))
    }

    fn distributions(&self, loss: impl Loss + 'static) -> Job {
        let logits = self.logits();
        job(loss, logits, self.put(Tensor::rand(self.size, CPU).softmax(1, Kind::Float)))
    }

    fn two_distributions(&self, loss: impl Loss + 'static) -> Job {
        let probabilities = self.probabilities();
        job(loss, probabilities, self.put(Tensor::rand(self.size, CPU).softmax(1, Kind::Float)))
    }

    fn signs(&self, loss: impl Loss + 'static) -> Job {
        let logits = self.logits();
        job(loss, logits, self.put(Tensor::randint(2, self.size, CPU) * 2 - 1))
    }
}

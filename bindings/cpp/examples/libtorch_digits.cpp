/*
 * libtorch_digits.cpp - libtorch with gradclip, and libtorch's own clipping as the oracle
 *
 * A network of three layers learns to read digits. Before gradclip clips, its gradients
 * are copied in double, and torch::nn::utils::clip_grad_norm_ clips the copies: in
 * double its sum of squares has digits to spare. Every step the two norms and every
 * clipped gradient must agree, or the program fails. What torch's norm would have been
 * in float, as a trainer calls it, is printed too.
 *
 *     c++ -std=c++17 -I../../c/examples -I/usr/include/torch/csrc/api/include libtorch_digits.cpp \
 *         $(pkg-config --cflags --libs gradclip) -ltorch -ltorch_cpu -lc10
 *     ./a.out ../../c/examples/data/digits.txt 0.3      clip to norm 0.3
 *     ./a.out ../../c/examples/data/digits.txt none     measure only
 *
 * At rate 0.5 (2.5 seconds, libtorch 1.13), max_norm 0.3 ends with a loss of 0.017 and 277
 * of 297 test digits right; 751 of 1500 steps were clipped. With "none" the network is
 * lost (2.33, which is guessing, and 30). The norms differ from torch's in double by at
 * most 2.7e-15, and gradients by 1e-7 of the largest, which is a rounding to float;
 * torch's norm in float is off by 2.9e-7 at this size.
 */
#include "digits.h"
#include <cmath>
#include <gradclip.hpp>
#include <iostream>
#include <limits>
#include <string>
#include <torch/torch.h>

namespace nn = torch::nn;

static std::vector<gradclip::tensor> gradients_of(const std::vector<torch::Tensor> &parameters) {
    std::vector<gradclip::tensor> grads;
    for (const auto &parameter : parameters) {
        const auto &grad = parameter.grad();
        TORCH_CHECK(grad.is_contiguous() && grad.is_cpu() && grad.scalar_type() == torch::kFloat, "a float gradient");
        grads.emplace_back(grad.data_ptr<float>(), static_cast<size_t>(grad.numel()));
    }
    return grads;
}

// Copies of parameters that have copies of their gradients.
static std::vector<torch::Tensor> copies(const std::vector<torch::Tensor> &parameters, torch::ScalarType type) {
    std::vector<torch::Tensor> made;
    for (const auto &parameter : parameters) {
        made.push_back(parameter.detach().to(type, false, true));
        made.back().mutable_grad() = parameter.grad().to(type, false, true);
    }
    return made;
}

int main(int argc, char **argv) try {
    if (argc < 2 || argc > 4) return std::cerr << "usage: libtorch_digits DIGITS [MAX_NORM|none [LEARNING_RATE]]\n", 2;
    const std::string max_norm_text = argc > 2 ? argv[2] : "0.3";
    const double max_norm = max_norm_text == "none" ? std::numeric_limits<double>::infinity() : std::stod(max_norm_text);
    const double rate = argc > 3 ? std::stod(argv[3]) : 0.5;
    const int steps = 1500, batch = 50;
    torch::manual_seed(1);
    torch::set_num_threads(1);

    digits *data = read_digits(argv[1]);
    const auto images = torch::from_blob(data->pixels, {DIGITS, DIGIT_PIXELS}).clone();
    const auto labels = torch::from_blob(data->label, {DIGITS}, torch::kInt).to(torch::kLong);
    std::free(data);

    nn::Sequential net(nn::Linear(DIGIT_PIXELS, 64), nn::ReLU(), nn::Linear(64, 64), nn::ReLU(), nn::Linear(64, 10));
    const auto parameters = net->parameters();
    torch::optim::SGD optimizer(parameters, torch::optim::SGDOptions(rate).momentum(0.9));
    int clipped = 0, skipped = 0;
    double mean_loss = 0, norm_apart = 0, grad_apart = 0, float_apart = 0;
    gradclip::options options;
    options.error_if_nonfinite = false; // this loop looks at found.non_finite
    for (int step = 1; step <= steps; step++) {
        const auto some = torch::randint(DIGIT_TRAINING, {batch}, torch::kLong);
        optimizer.zero_grad();
        const auto loss = torch::cross_entropy_loss(net->forward(images.index_select(0, some)), labels.index_select(0, some));
        loss.backward();

        const auto oracle = copies(parameters, torch::kDouble);
        const auto as_trainer = copies(parameters, torch::kFloat);
        const double expected = nn::utils::clip_grad_norm_(oracle, max_norm);
        const double in_float = nn::utils::clip_grad_norm_(as_trainer, max_norm);

        const auto found = gradclip::clip_grad_norm(gradients_of(parameters), max_norm, 2.0, options);

        norm_apart = std::max(norm_apart, std::abs(found.total_norm / expected - 1));
        float_apart = std::max(float_apart, std::abs(in_float / expected - 1));
        for (size_t i = 0; i < parameters.size(); i++) {
            const auto apart = (parameters[i].grad().to(torch::kDouble) - oracle[i].grad()).abs().max().item<double>();
            grad_apart = std::max(grad_apart, apart / std::max(oracle[i].grad().abs().max().item<double>(), 1e-30));
        }

        if (!found.non_finite) optimizer.step();
        skipped += found.non_finite;
        clipped += found.clipped();
        mean_loss += (loss.item<double>() - mean_loss) / std::min(step, 100);
        if (step % 300 == 0)
            std::printf("step %d: loss %.4f, total_norm %.4f, clipped %d\n", step, mean_loss, found.total_norm, clipped);
    }
    torch::NoGradGuard no_grad;
    const auto answers = net->forward(images.slice(0, DIGIT_TRAINING)).argmax(1);
    const auto right = answers.eq(labels.slice(0, DIGIT_TRAINING)).sum().item<int64_t>();
    std::printf("norms apart from torch's in double by at most %.1e, gradients by %.1e; torch's norm in float by %.1e\n",
                norm_apart, grad_apart, float_apart);
    std::printf("max_norm %s, rate %g: final loss %.4f, %d of %d test digits right, %d of %d steps clipped, %d skipped\n",
                max_norm_text.c_str(), rate, mean_loss, static_cast<int>(right), DIGITS - DIGIT_TRAINING, clipped, steps,
                skipped);
    // A few last places of double for the norm; of the gradients' largest, one of float.
    return norm_apart < 1e-14 && grad_apart < 1.2e-7 ? 0 : 1;
} catch (const std::exception &error) {
    std::cerr << "libtorch_digits: " << error.what() << "\n";
    return 1;
}

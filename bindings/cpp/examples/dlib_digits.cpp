/*
 * dlib_digits.cpp - dlib, which has no clipping, with clipping
 *
 * dlib's dnn_trainer computes gradients and updates in one go. The network itself
 * offers the two halves, compute_parameter_gradients() and update_parameters(), and
 * visit_layer_parameter_gradients() shows the gradients in between: that is where the
 * call goes. A network of three layers learns to read digits by plain SGD with momentum.
 *
 *     c++ -std=c++17 -O2 -I../../c/examples dlib_digits.cpp $(pkg-config --cflags --libs gradclip) -ldlib
 *     ./a.out ../../c/examples/data/digits.txt 0.3      clip to norm 0.3
 *     ./a.out ../../c/examples/data/digits.txt none     measure only
 *
 * At rate 0.5 (a second and a half), max_norm 0.3 ends with a loss of 0.016 and 266 of
 * 297 test digits right; 761 of 1500 steps were clipped. With "none" the network is lost
 * (2.33, which is guessing, and 33). At rate 0.1 both learn: 0.0006 and 0.0003, 273 and
 * 274. Clipping buys the larger rate.
 */
#include "digits.h"
#include <cmath>
#include <cstdlib>
#include <dlib/dnn.h>
#include <gradclip.hpp>
#include <iostream>
#include <limits>
#include <memory>
#include <string>

using image = dlib::matrix<float, 8, 8>;
using network = dlib::loss_multiclass_log<
    dlib::fc<10, dlib::relu<dlib::fc<64, dlib::relu<dlib::fc<64, dlib::input<image>>>>>>>;

// The gradients of all layers that have any. They belong to the network, and stay where
// they are from the first backward pass on.
static gradclip::tensor_list gradients_of(network &net) {
    std::vector<gradclip::tensor> grads;
    dlib::visit_layer_parameter_gradients(net, [&](dlib::tensor &grad) {
        if (grad.size() > 0) grads.emplace_back(grad.host(), grad.size());
    });
    return grads;
}

int main(int argc, char **argv) try {
    if (argc < 2 || argc > 4) return std::cerr << "usage: dlib_digits DIGITS [MAX_NORM|none [LEARNING_RATE]]\n", 2;
    const std::string max_norm_text = argc > 2 ? argv[2] : "0.3";
    const double max_norm = max_norm_text == "none" ? std::numeric_limits<double>::infinity() : std::stod(max_norm_text);
    const double rate = argc > 3 ? std::stod(argv[3]) : 0.5;
    const int steps = 1500, batch = 50;

    const std::unique_ptr<digits, void (*)(void *)> data(read_digits(argv[1]), std::free);
    std::vector<image> images(DIGITS);
    std::vector<unsigned long> labels(data->label, data->label + DIGITS);
    for (int i = 0; i < DIGITS; i++)
        for (int k = 0; k < DIGIT_PIXELS; k++) images[i](k / 8, k % 8) = data->pixels[i][k];

    network net;
    std::vector<dlib::sgd> solvers(network::num_computational_layers, dlib::sgd(0.0f, 0.9f));
    dlib::rand random(1);
    int clipped = 0, skipped = 0;
    double mean_loss = 0;
    gradclip::options options;
    options.error_if_nonfinite = false; // this loop looks at found.non_finite
    for (int step = 1; step <= steps; step++) {
        std::vector<image> some(batch);
        std::vector<unsigned long> some_labels(batch);
        for (int b = 0; b < batch; b++) {
            const int i = static_cast<int>(random.get_random_32bit_number() % DIGIT_TRAINING);
            some[b] = images[i];
            some_labels[b] = labels[i];
        }
        const double loss = net.compute_parameter_gradients(some.begin(), some.end(), some_labels.begin());

        const auto found = gradclip::clip_grad_norm(gradients_of(net), max_norm, 2.0, options);

        if (!found.non_finite) net.update_parameters(solvers, rate);
        skipped += found.non_finite;
        clipped += found.clipped();
        mean_loss += (loss - mean_loss) / std::min(step, 100);
        if (step % 300 == 0)
            std::printf("step %d: loss %.4f, total_norm %.4f, clipped %d\n", step, mean_loss, found.total_norm, clipped);
    }
    int right = 0;
    const std::vector<image> test(images.begin() + DIGIT_TRAINING, images.end());
    const std::vector<unsigned long> answers = net(test);
    for (size_t i = 0; i < test.size(); i++) right += answers[i] == labels[DIGIT_TRAINING + i];
    std::printf("max_norm %s, rate %g: final loss %.4f, %d of %zu test digits right, %d of %d steps clipped, %d skipped\n",
                max_norm_text.c_str(), rate, mean_loss, right, test.size(), clipped, steps, skipped);
} catch (const std::exception &error) {
    std::cerr << "dlib_digits: " << error.what() << "\n";
    return 1;
}

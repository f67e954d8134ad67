/*
 * choose_max_norm.cpp - a chooser of max_norm with deferred clipping, an accumulator, a monitor
 *
 * The trainer of ../../c/examples/choose_max_norm.c on gradclip.hpp; that file says what it
 * does. Its log is the same file, to the byte.
 *
 *     c++ -std=c++17 -O3 -I../../c/examples choose_max_norm.cpp -lgradclip -o choose_max_norm
 *     ./choose_max_norm ../../c/examples/data/digits.txt deferred zclip > run.csv
 */
#include "digits.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <gradclip.hpp>
#include <iostream>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace {

constexpr int classes = 10, batch = 50, steps = 300;
constexpr double infinity = std::numeric_limits<double>::infinity();

std::uint64_t random_state = 1; // SplitMix64
double random_uniform() {
    std::uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

struct classifier {
    std::vector<std::vector<float>> weights{std::vector<float>(DIGIT_PIXELS * classes), std::vector<float>(classes)};
    std::vector<std::vector<float>> grads = weights, momentum = weights;

    // The probabilities of the classes; returns the loss.
    float forward(const float *x, int label, float *p) const {
        std::copy_n(weights[1].begin(), classes, p);
        for (int i = 0; i < DIGIT_PIXELS; i++)
            for (int c = 0; c < classes; c++) p[c] += x[i] * weights[0][std::size_t(i * classes + c)];
        float largest = p[0], sum = 0;
        for (int c = 1; c < classes; c++) largest = p[c] > largest ? p[c] : largest;
        for (int c = 0; c < classes; c++) sum += p[c] = std::exp(p[c] - largest);
        for (int c = 0; c < classes; c++) p[c] /= sum;
        return -std::log(p[label] + 1e-30f);
    }

    // The mean loss of a batch, and its gradients. With a norm each is added to it when it is final.
    double backward(const digits &d, int step, gradclip::accumulator *norm) {
        static float x[batch][DIGIT_PIXELS], delta[batch][classes];
        float loss = 0;
        for (int n = 0; n < batch; n++) {
            const int i = int(random_uniform() * DIGIT_TRAINING);
            for (int k = 0; k < DIGIT_PIXELS; k++) x[n][k] = d.pixels[i][k] * (step == 100 ? 40.0f : 1.0f);
            if (step == 200 && n == 0) x[n][0] = std::numeric_limits<float>::infinity();
            loss += forward(x[n], d.label[i], delta[n]) / batch;
            for (int c = 0; c < classes; c++) delta[n][c] = (delta[n][c] - float(c == d.label[i])) / batch;
        }
        for (std::size_t t = grads.size(); t-- > 0;) { // the last layer first
            std::fill(grads[t].begin(), grads[t].end(), 0.0f);
            for (int n = 0; n < batch; n++)
                for (std::size_t i = 0; i < grads[t].size(); i++)
                    grads[t][i] += delta[n][i % classes] * (t == 0 ? x[n][i / classes] : 1.0f);
            if (!norm) continue;
            norm->set_next_tensor(t);
            norm->add(grads[t]);
        }
        return double(loss);
    }
};

} // namespace

int main(int argc, char **argv) try {
    const std::map<std::string, gradclip::chooser_kind> rules{{"autoclip", gradclip::chooser_kind::autoclip},
                                                              {"zclip", gradclip::chooser_kind::zclip},
                                                              {"adagc", gradclip::chooser_kind::adagc},
                                                              {"skipstep", gradclip::chooser_kind::skipstep}};
    const std::string way = argc > 2 ? argv[2] : "in-place", rule = argc > 3 ? argv[3] : "zclip";
    if (argc < 2 || argc > 4 || rules.count(rule) == 0 || (way != "in-place" && way != "deferred" && way != "accumulated"))
        return std::cerr << "usage: choose_max_norm DIGITS [in-place|deferred|accumulated "
                            "[autoclip|zclip|adagc|skipstep]]\n", 2;
    const gradclip::chooser_kind kind = rules.at(rule);
    const bool is_per_tensor = kind == gradclip::chooser_kind::adagc;
    if (way == "accumulated" && is_per_tensor)
        return std::cerr << "choose_max_norm: adagc needs the norm of each tensor\n", 2;
    digits *d = read_digits(argv[1]);

    auto chooser_options = gradclip::chooser_defaults(kind);
    chooser_options.percentile = 90; // of AutoClip alone
    gradclip::chooser chooser(chooser_options);
    gradclip::options options;
    options.error_if_nonfinite = false; // this loop looks at what comes back
    gradclip::accumulator norm(2.0, options);
    gradclip::monitor monitor([](gradclip::log_kind of, const char *line) {
        (of == gradclip::log_kind::csv ? std::cout : std::cerr) << line << '\n';
    });
    classifier net;
    const gradclip::tensor_list grads(net.grads);

    const double rate = 0.5;
    int clipped = 0, skipped = 0;
    for (int step = 1; step <= steps; step++) {
        const double loss = net.backward(*d, step, way == "accumulated" ? &norm : nullptr);
        std::vector<double> factors(net.grads.size(), 1); // what the optimizer multiplies by
        gradclip::result found;
        gradclip::decision decision;
        if (way == "in-place") {
            auto chosen = chooser.clip(grads, 2.0, loss, options);
            found = chosen.found;
            decision = chosen.decided;
        } else {
            // The norm; a max_norm of infinity leaves the coefficient to the chooser.
            std::vector<double> norms;
            found = way == "deferred" ? gradclip::defer_clip(grads, infinity, 2.0, options, &norms) : norm.finish(infinity);
            // A norm that is NaN or infinite is told, too: it enters no history, and the verdict is to skip.
            decision = is_per_tensor ? chooser.feed_tensors(norms, false) : chooser.feed(found.total_norm, loss, false);
            for (std::size_t t = 0; t < factors.size(); t++)
                factors[t] = (is_per_tensor ? decision.tensor_coefs[t] : decision.clip_coef) * found.factor;
            found.clip_coef = decision.clip_coef; // for the log: it was measured with none
        }
        norm.reset();
        monitor.log(found, rate, loss, &decision); // a skipped step as well
        if (decision.to_do == gradclip::action::skip) {
            skipped++;
            continue;
        }
        clipped += decision.clip_coef < 1;
        for (std::size_t t = 0; t < net.grads.size(); t++)
            for (std::size_t i = 0; i < net.grads[t].size(); i++) {
                net.momentum[t][i] = 0.9f * net.momentum[t][i] + float(factors[t]) * net.grads[t][i];
                net.weights[t][i] -= float(rate) * net.momentum[t][i];
            }
    }

    int right = 0;
    for (int i = DIGIT_TRAINING; i < DIGITS; i++) {
        float p[classes];
        net.forward(d->pixels[i], d->label[i], p);
        right += std::max_element(p, p + classes) - p == d->label[i];
    }
    std::cerr << way << ", " << rule << ": " << right << " of " << DIGITS - DIGIT_TRAINING << " test digits right, " << clipped
              << " of " << steps << " steps clipped, " << skipped << " skipped\n";
    std::free(d);
    return 0;
} catch (const gradclip::error &error) {
    std::cerr << "choose_max_norm: " << error.what() << '\n';
    return 1;
}

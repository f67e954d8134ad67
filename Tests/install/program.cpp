// The same from C++.
#include <gradclip.hpp>

#include <vector>

int main() {
    std::vector<float> three{3, 0}, four{4};
    gradclip::options options;
    options.eps = 0;
    const gradclip::result found = gradclip::clip_grad_norm({three, four}, 2.5, 2.0, options);
    return !(found.total_norm == 5 && three[0] == 1.5f && three[1] == 0 && four[0] == 2);
}

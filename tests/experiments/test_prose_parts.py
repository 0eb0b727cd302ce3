"""What the documents say of the method's parts, their other forms and weights, follows from the scores."""

from statistics import mean

from fakes.prose import ALONE, gains_of, interval_of, words_of

from experiments.document import HEADLINE, scores


def test_the_gain_with_even_statistics_in_the_prose_follows_from_the_scores() -> None:
    page = words_of("docs/results.md")
    now = gains_of("even_statistics", "Dirichlet 0.5", "macro_f1")
    before = gains_of(HEADLINE, "Dirichlet 0.5", "macro_f1")[:3]
    assert f"the gain is {mean(now):.1f} instead of {mean(before):.1f}, with the same sign in every seed" in page
    assert min(now) > 0
    own = [mean(gains_of(name, "Dirichlet 0.5", "own_macro_f1")[:3]) for name in ("even_statistics", HEADLINE)]
    assert f"on own images {own[0]:.1f} instead of {own[1]:.1f}" in page


def test_what_each_ingredient_is_worth_in_the_prose_follows_from_the_scores() -> None:
    page, noises = words_of("docs/results.md"), ("symmetric 0.2", "pair flip 0.3")

    def gains(method: str, over: str) -> list[list[float]]:
        return [gains_of("ablation", "Dirichlet 0.5", noise=noise, method=method, over=over) for noise in noises]

    def listed(method: str, over: str) -> str:
        return "{:.1f} and {:.1f}".format(*map(mean, gains(method, over)))

    lost = {
        what: listed("MDH-FL+", f"without {row}")
        for what, row in {
            "own statistics of the public images": "own statistics of public images",
            "averaged weights": "averaged weights",
            "further views": "further views",
            "competences": "competences",
        }.items()
    }
    assert ", ".join(f"{what} {points}" for what, points in lost.items()) in page
    signs = ("own statistics of public images", "averaged weights", "further views", "competences")
    seeds = [gain for row in signs for gained in gains("MDH-FL+", f"without {row}") for gain in gained]
    assert sum(gain < 0 for gain in seeds) == 1, "the same sign in every seed but one of competences'"
    assert min(gains("MDH-FL+", "without competences")[0]) < 0
    even, flipped = map(mean, gains("MDH-FL+", "without balanced softmax"))
    assert sum(gain < 0 for gain in gains("MDH-FL+", "without balanced softmax")[1]) == 2
    assert (
        f"The balanced softmax gains {even:.1f} with symmetric noise and costs {-flipped:.1f} with pair flips" in page
    )
    assert f"The own stain brings {listed('MDH-FL+', 'without own stain')}, which" in page
    rows = ("own statistics of public images", "averaged weights", "further views", "competences", "own stain")
    cut = [[round(mean(gained)) for gained in gains("MDH-FL+", f"without {row}")] for row in rows]
    answer = "cost {} and {} points (symmetric noise, pair flips), averaged weights {} and {}, views {} and {}, "
    answer = (answer + "competences {} and {}, own stain {} and {}").format(
        *(points for pair in cut for points in pair)
    )
    assert f"{answer}; the balanced softmax gains {even:.0f} with symmetric noise and costs {-flipped:.0f}" in page


def test_what_an_ingredient_brings_plain_alignment_in_the_prose_follows_from_the_scores() -> None:
    page, noises = words_of("docs/results.md"), ("symmetric 0.2", "pair flip 0.3")
    plain, repaired = "plain alignment", "plain alignment, own statistics"
    singly = ("averaged weights", "weight 3", "competences", "further views", "own stain", "balanced softmax")

    def gains(method: str, over: str) -> list[list[float]]:
        return [gains_of("ablation", "Dirichlet 0.5", noise=noise, method=method, over=over) for noise in noises]

    added = {what: gains(f"{repaired}, {what}", repaired) for what in singly}
    brought = {what: "{:.1f} and {:.1f}".format(*map(mean, gained)) for what, gained in added.items()}
    first = "{:.1f} and {:.1f}".format(*map(mean, gains(repaired, plain)))
    assert f"Own statistics bring plain alignment {first} points" in page
    assert f"On top of them averaged weights bring {brought['averaged weights']}, in every seed" in page
    assert min(min(gained) for gained in added["averaged weights"]) > 0
    small = "the weight of 3 brings {}, competences {}, further views {}, the own stain {}, which three seeds"
    assert small.format(*(brought[what] for what in singly[1:5])) in page
    even, flipped = added["balanced softmax"]
    said = f"brings {mean(even):.1f} with symmetric noise (two seeds of three); with pair flips it costs"
    assert f"{said} {-mean(flipped):.1f}, in every seed" in page
    assert (sum(gain > 0 for gain in even), max(flipped) < 0) == (2, True)
    sums = [sum(mean(gained[k]) for gained in added.values()) for k in (0, 1)]
    together = [mean(gained) for gained in gains("MDH-FL+", repaired)]
    said = "gains sum to {:.1f} and {:.1f} points; together they bring {:.1f} and {:.1f}"
    assert said.format(*sums, *together) in page
    above = {what: [mean(gained) for gained in gains(f"{repaired}, {what}", ALONE)] for what in singly}
    nearest = max(even for even, _ in above.values())
    assert f"with symmetric noise each is at least {-nearest:.1f} points below training alone" in page
    (_, best), *others = above.values()
    assert f"with pair flips averaged weights alone are above it ({best:.1f}), the others level or below" in page
    assert max(flipped for _, flipped in others) < 1
    answer = "only averaged weights ({:.0f} and {:.0f} points)".format(*map(mean, added["averaged weights"]))
    assert answer in page


def test_what_other_forms_are_worth_in_the_prose_follows_from_the_scores() -> None:
    page, noises, some = words_of("docs/results.md"), ("symmetric 0.2", "pair flip 0.3"), "Dirichlet 0.5"

    def gains(method: str, over: str = "MDH-FL+", column: str = "macro_f1") -> list[list[float]]:
        return [gains_of("other_forms", some, column, noise=noise, method=method, over=over) for noise in noises]

    def behind(method: str) -> str:
        return "{:.1f} and {:.1f}".format(*(-mean(gained) for gained in gains(method)))

    joint, coupled, loss = (
        f"MDH-FL+, {how}" for how in ("joint steps", "coupled pairs of classes", "the paper's loss")
    )
    assert f"Joint steps have {behind(joint)} points less macro-F1 than phases (symmetric noise, pair flips)" in page
    assert f"and the paper's loss {behind(loss)} less, in every seed" in page
    assert max(gain for method in (joint, loss) for gained in gains(method) for gain in gained) < 0
    even, flipped = gains(coupled)
    assert f"level with symmetric noise ({mean(even):+.1f}, 95 % interval {interval_of(even)})" in page
    said = (
        f"{mean(flipped):.1f} points ahead with pair flips, in every seed, but on an interval of {interval_of(flipped)}"
    )
    assert said in page
    assert min(flipped) > 0
    assert f"and level on own images ({mean(gains(coupled, column='own_macro_f1')[1]):+.1f})" in page
    above = "{:.1f} and {:.1f}".format(*map(mean, gains("ProxyFL", ALONE)))
    proxy = behind("ProxyFL")
    assert f"is {above} points above the strongest training alone here, and {proxy} below MDH-FL+" in page
    assert f"joint steps are {behind(joint)} points of macro-F1 behind phases" in page
    assert f"the paper's loss {behind(loss)}. Coupled pairs of classes are level" in page
    assert f"noise and {mean(flipped):.1f} ahead with pair flips, which three" in page
    assert f"ProxyFL is {proxy} behind." in page


def test_what_suits_right_labels_in_the_prose_follows_from_the_scores() -> None:
    federations = ("Dirichlet 0.5", "Dirichlet 0.1", "IID")

    def gains(method: str, column: str = "macro_f1", over: str = ALONE) -> list[list[float]]:
        return [gains_of("right_labels", name, column, method=method, over=over) for name in federations]

    def listed(method: str, column: str = "macro_f1") -> str:
        return "{:.1f}, {:.1f} and {:.1f}".format(*map(mean, gains(method, column)))

    page, ours, own = words_of("docs/results.md"), "MDH-FL+", "own_macro_f1"
    light, view, rest = (f"{ours}, {how}" for how in ("alignment weight 1", "one view", "at rest from round 6"))
    some, hardly, same = gains(light)
    least = f"but {min(hardly):.1f} or more in every seed"
    said = f"gains {mean(some):.1f} points of macro-F1 over the strongest training alone at Dirichlet 0.5"
    said = f"{said} (95 % interval {interval_of(some)})"
    assert f"{said}, {mean(hardly):.1f} at 0.1 ({interval_of(hardly)}, {least})" in page
    assert f"and {mean(same):.1f} on IID sites ({interval_of(same)}), and {listed(light, own)} on own images" in page
    assert f"with the defaults it is {listed(ours)}, and {listed(ours, own)} on own images" in page
    answer = (
        "{:.1f} points of macro-F1 over the strongest training alone at Dirichlet 0.5, {:.1f} at 0.1 and {:.1f} on IID"
    )
    assert f"{answer.format(*map(mean, gains(light)))} sites, and {listed(light, own)} on own images" in page
    defaults = [mean(less) for less in gains(ours)]
    assert "the default of 3 gains {:.1f} and {:.1f} and loses {:.1f}".format(*defaults[:2], -defaults[2]) in page
    before = mean(gains_of("refinements", "Dirichlet 0.5", noise="none"))
    assert f"At Dirichlet 0.5 the defaults' gain on these seeds is {before:.1f} in" in page
    some, hardly, same = gains(light, over=ours)
    assert min(some) < 0 < min(hardly + same), "level, ahead, ahead"
    assert f"at Dirichlet 0.5 ({mean(some):+.1f}, {interval_of(some)})" in page
    assert f"every seed at 0.1 ({mean(hardly):+.1f}, {interval_of(hardly)})" in page
    assert f"and on IID sites ({mean(same):+.1f}, {interval_of(same)})" in page
    assert f"leaves gains of {listed(view)}, coming to rest from round 6 (by default: never) {listed(rest)}." in page
    assert min(map(mean, gains(light)[:2])) > 5, "the aim, where classes differ"
    assert min(map(mean, gains(light)[2:] + gains(light, own))) > 0, "no loss elsewhere"
    points = "{:.0f}, {:.0f} and {:.0f} points over training alone".format(*map(mean, gains(light)))
    assert points in words_of("README.md")


def test_what_a_lighter_alignment_costs_with_wrong_labels_follows_from_the_scores() -> None:
    def gains(method: str, column: str = "macro_f1", over: str = ALONE) -> list[float]:
        return gains_of("lighter_alignment", "IID", column, method=method, over=over)

    page, ours, light = words_of("docs/results.md"), "MDH-FL+", "MDH-FL+, alignment weight 1"
    less = gains(ours, over=light)
    low, _, high = interval_of(less).replace("+", "").split()
    assert f"{mean(gains(light)):.1f} points over training alone ({interval_of(gains(light))})" in page
    assert f"the defaults' {mean(gains(ours)):.1f}, which is {mean(less):.1f} less ({low} to {high})" in page
    assert f"and {mean(gains(ours, 'own_macro_f1', light)):.1f} less on own images" in page


def test_what_the_symmetric_loss_is_worth_in_the_prose_follows_from_the_scores() -> None:
    def gains(method: str, noise: str, column: str = "macro_f1") -> list[float]:
        return gains_of("symmetric_loss", "IID", column, noise=noise, method=method, over="local CE")

    page, noises = words_of("docs/results.md"), ("none", "symmetric 0.2", "pair flip 0.3")
    right, even, flipped = (gains("local SCE (1, 1)", noise) for noise in noises)
    assert min(right + even + flipped) > 0
    said = f"{mean(right):.1f} points of macro-F1 over cross-entropy without a wrong label ({interval_of(right)})"
    assert f"is worth {said}, {mean(even):.1f} with 20 % symmetric noise ({interval_of(even)})" in page
    assert f"and {mean(flipped):.1f} with 30 % pair flips ({interval_of(flipped)}), every seed ahead" in page
    lost, even, flipped = (gains("local SCE (0.1, 1)", noise) for noise in noises)
    assert max(lost) < 0
    said = f"cost {-mean(lost):.1f} points where no label is wrong, in every seed"
    assert f"{said}, and gain {mean(even):.1f} and {mean(flipped):.1f} where labels are" in page
    even, flipped = (gains("local SCE (0.1, 1)", noise, "accuracy") for noise in noises[1:])
    assert f"their accuracy gains more ({mean(even):.1f} and {mean(flipped):.1f} points)" in page
    rows = scores("gain_by_noise")
    alone = [
        mean(float(row["macro_f1"]) for row in rows if (row["federation"], row["noise"], row["method"]) == at)
        for at in (("IID", noise, ALONE) for noise in noises)
    ]
    assert "has {:.1f}, {:.1f} and {:.1f} points in the same three columns".format(*alone) in page


def test_which_mean_of_knowledge_teaches_best_in_the_prose_follows_from_the_scores() -> None:
    def gains(method: str, federation: str) -> list[float]:
        return gains_of("alignment", federation, method=method, over="local CE")

    page, means = words_of("docs/results.md"), ("arithmetic mean (MDH-FL, CE weight 1)", "geometric mean", "attention")
    same, some = ([mean(gains(how, federation)) for how in means] for federation in ("IID", "Dirichlet 0.5"))
    apart = max(max(same) - min(same), max(some) - min(some))
    assert f"are within {apart:.1f} points of macro-F1 of each other" in page
    weights = gains("mean of parameters (FedAvg in two groups)", "Dirichlet 0.5")
    merged = mean(gains("mean of parameters (FedAvg in two groups)", "IID"))
    said = f"all gain {min(*same, merged):.0f} to {max(*same, merged):.0f} points over plain local training"
    assert f"{said}, as averaging parameters does" in page
    assert f"At Dirichlet 0.5 all lose {-max(some):.0f} to {-min(some):.0f} points to it" in page
    assert min(weights) > 0
    up = {row["method"]: float(row["bytes_up_per_site_and_round"]) for row in scores("alignment")}
    times = up["mean of parameters (FedAvg in two groups)"] / up["attention"]
    said = f"gains {mean(weights):.1f} (95 % interval {interval_of(weights)}), ahead in every seed"
    assert f"{said}, at {times:.0f} times the bytes" in page
    assert f"gains {mean(weights):.0f}, and MDH-FL+ {mean(gains('MDH-FL+', 'Dirichlet 0.5')):.0f}" in page


def test_how_averaging_parameters_in_groups_compares_in_the_prose_follows_from_the_scores() -> None:
    def gains(federation: str, column: str = "macro_f1") -> list[float]:
        return gains_of("alignment", federation, column, over="mean of parameters (FedAvg in two groups)")

    page, (same, some) = words_of("docs/results.md"), map(gains, ("IID", "Dirichlet 0.5"))
    said = f"{mean(same):.1f} points above averaging parameters on IID sites ({interval_of(same)})"
    assert (
        f"{said} and {mean(some):.1f} at Dirichlet 0.5 ({interval_of(some)}), where one seed of three is below" in page
    )
    assert (min(same) > 0, sum(gain < 0 for gain in some)) == (True, 1)
    up = {row["method"]: float(row["bytes_up_per_site_and_round"]) for row in scores("alignment")}
    assert f"at {up['MDH-FL+'] / up['attention']:.0f} times the bytes of MDH-FL." in page
    own = [mean(gains(federation, "own_macro_f1")) for federation in ("IID", "Dirichlet 0.5")]
    assert "it, {:.1f} and {:.1f} on own images".format(*own) in page

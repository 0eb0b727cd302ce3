"""The figures in the documents' sentences are those of the experiments' scores."""

from collections.abc import Sequence
from statistics import mean, stdev

from scipy.stats import t

from experiments.document import HEADLINE, RESULTS, ROOT, scores

ALONE = "local, balanced and averaged"


def words_of(document: str) -> str:
    """Return a document's text as if it were one line."""
    return " ".join((ROOT / document).read_text(encoding="utf-8").split())


def gains_of(
    name: str, federation: str, column: str = "macro_f1", *, noise: str = "", method: str = "MDH-FL+", over: str = ALONE
) -> list[float]:
    """Return a method less another, seed by seed; without a noise, of a comparison that has one."""
    runs = {
        (row["method"], row["seed"]): float(row[column])
        for row in scores(name)
        if row["federation"] == federation and noise in ("", row["noise"])
    }
    seeds = sorted({seed for _, seed in runs})
    return [runs[method, seed] - runs[over, seed] for seed in seeds]


def interval_of(gains: Sequence[float]) -> str:
    """Return the 95 % t-interval of a mean over seeds, as the documents write it."""
    low, high = t.interval(0.95, len(gains) - 1, loc=mean(gains), scale=stdev(gains) / len(gains) ** 0.5)
    return f"{low:+.1f} to {high:+.1f}"


def test_the_gains_in_the_prose_follow_from_the_scores() -> None:
    """MDH-FL+ less the strongest local training, by federation: in the README's sentence, and in the results."""
    rows = scores(HEADLINE)

    def gain(federation: str, column: str) -> float:
        mean_of = {
            method: mean(
                float(row[column]) for row in rows if (row["federation"], row["method"]) == (federation, method)
            )
            for method in ("MDH-FL+", ALONE)
        }
        return mean_of["MDH-FL+"] - mean_of[ALONE]

    some, hardly, same = (gain(name, "macro_f1") for name in ("Dirichlet 0.5", "Dirichlet 0.1", "IID"))
    readme = words_of("README.md")
    assert f"gain {some:.0f} points of macro-F1 over the strongest training alone" in readme
    assert f"in common {hardly:.0f}, and sites with the same classes {same:.0f}," in readme
    own = [gain(name, "own_macro_f1") for name in ("Dirichlet 0.5", "Dirichlet 0.1", "IID")]
    assert f"macro-F1 {own[1]:+.0f}, {own[0]:+.0f} and {own[2]:+.0f} points" in readme, "in the order of the rows"
    page = words_of("docs/results.md")
    assert f"by {some:.1f}, {hardly:.1f} and {same:.1f} points of macro-F1 on the test images of all sites" in page
    assert f"by {own[0]:.1f}, {own[1]:.1f} and {own[2]:.1f} on the sites' own" in page


def test_what_the_readme_says_of_other_comparisons_follows_from_their_scores() -> None:
    def score(name: str, federation: str, method: str) -> float:
        rows = scores(name)
        return mean(float(r["macro_f1"]) for r in rows if (r["federation"], r["method"]) == (federation, method))

    readme = words_of("README.md")
    some, hardly = (
        score("homogeneous_models", federation, "MDH-FL+") - score("homogeneous_models", federation, "FedAvg")
        for federation in ("Dirichlet 0.5", "Dirichlet 0.1")
    )
    assert abs(some) < 1
    assert f"level with FedAvg at Dirichlet 0.5 and {hardly:.0f} points ahead at 0.1" in readme
    best = "centralised, balanced and averaged"
    pooled = [score("weight_sharing", federation, best) for federation in ("Dirichlet 0.1", "Dirichlet 0.5")]
    assert f"would reach {pooled[0]:.0f} and {pooled[1]:.0f} in the first two rows" in readme
    drawn, tiles = (
        score("public_sets", public, "MDH-FL+") for public in ("400 drawn cells", "400 of another hospital")
    )
    assert abs(drawn - tiles) < 2
    assert "400 drawn cells teach as well as 400 of another hospital" in readme


def test_the_gain_without_wrong_labels_over_the_seeds_that_chose_nothing_is_the_one_in_the_prose() -> None:
    runs = {
        (row["seed"], row["method"]): float(row["macro_f1"])
        for name in ("gain_by_noise", "refinements")
        for row in scores(name)
        if (row["federation"], row["noise"]) == ("Dirichlet 0.5", "none")
    }
    chose = "100"
    gains = [
        score - runs[seed, ALONE] for (seed, method), score in runs.items() if method == "MDH-FL+" and seed != chose
    ]
    text = f"{mean(gains):.1f} points over five seeds (95 % interval {interval_of(gains)})"
    assert len(gains) == 5
    assert text in words_of("docs/results.md")


def test_the_smallest_gain_of_a_seed_is_the_one_in_the_prose() -> None:
    runs = {(row["federation"], row["seed"], row["method"]): float(row["macro_f1"]) for row in scores(HEADLINE)}
    gains = [
        value - runs[federation, seed, ALONE]
        for (federation, seed, method), value in runs.items()
        if method == "MDH-FL+"
    ]
    assert len(gains) == 15
    assert f"the smallest gain of all fifteen is {min(gains):.1f} points" in words_of("docs/results.md")


def test_the_gains_of_many_sites_in_the_prose_follow_from_the_scores() -> None:
    page = words_of("docs/results.md")
    sites = ("10 sites", "20 sites", "50 sites")
    one, two, three = (mean(gains_of("many_sites", each, "macro_f1")) for each in sites)
    assert f"by {one:.1f}, {two:.1f} and {three:.1f} points of macro-F1 at 10, 20 and 50 sites" in page
    one, two, three = (mean(gains_of("many_sites", each, "own_macro_f1")) for each in sites)
    assert f"and by {one:.1f}, {two:.1f} and {three:.1f} on own images" in page
    every = [gain for each in sites for gain in gains_of("many_sites", each, "macro_f1")]
    assert f"({min(every):.1f} to {max(every):.1f} in single seeds" in page


def test_the_gain_with_even_statistics_in_the_prose_follows_from_the_scores() -> None:
    page = words_of("docs/results.md")
    now = gains_of("even_statistics", "Dirichlet 0.5", "macro_f1")
    before = gains_of(HEADLINE, "Dirichlet 0.5", "macro_f1")[:3]
    assert f"the gain is {mean(now):.1f} instead of {mean(before):.1f}, with the same sign in every seed" in page
    assert min(now) > 0
    own = [mean(gains_of(name, "Dirichlet 0.5", "own_macro_f1")[:3]) for name in ("even_statistics", HEADLINE)]
    assert f"on own images {own[0]:.1f} instead of {own[1]:.1f}" in page


def test_the_gains_with_larger_images_in_the_prose_follow_from_the_scores() -> None:
    page = words_of("docs/results.md")
    gain, own = (gains_of("larger_images", "Dirichlet 0.5", column) for column in ("macro_f1", "own_macro_f1"))
    assert f"MDH-FL+ is {mean(gain):.1f} points of macro-F1 ahead of the strongest training alone on the test" in page
    assert f"all sites, and {mean(own):.1f} on own images, in every seed" in page
    assert min(gain + own) > 0


def test_what_drawn_cells_teach_in_the_prose_follows_from_the_scores() -> None:
    page, rows, own = words_of("docs/results.md"), scores("public_sets"), "own_macro_f1"
    few, many = "400 drawn cells", "2000 drawn cells"

    def of_ours(federation: str, column: str) -> list[float]:
        return [float(r[column]) for r in rows if (r["federation"], r["method"]) == (federation, "MDH-FL+")]

    some, more, other = (gains_of("public_sets", name) for name in (few, many, "400 of another hospital"))
    said = f"({mean(some):.1f} and {mean(other):.1f} points over training alone, intervals "
    assert f"{said}{interval_of(some)} and {interval_of(other)})" in page
    assert f"teach better: {mean(more):.1f} ({interval_of(more)})" in page
    gained = [mean(gains_of("public_sets", name, own)) for name in (many, few)]
    assert f"and {gained[0]:.1f} instead of {gained[1]:.1f} on own images" in page
    ahead = [a - b for a, b in zip(of_ours(many, "macro_f1"), of_ours(few, "macro_f1"), strict=True)]
    assert min(ahead) > 0
    assert f"{mean(ahead):.1f} points more than with 400 ({interval_of(ahead)}, every seed ahead)" in page
    seconds, sent = (
        mean(of_ours(many, what)) / mean(of_ours(few, what))
        for what in ("seconds_per_site", "bytes_up_per_site_and_round")
    )
    assert f"for {seconds:.1f} times a site's seconds and {sent:.1f} times its bytes" in page
    assert f"400 drawn cells gain {mean(some):.1f} points of macro-F1, 2000 gain {mean(more):.1f}, 400" in page
    readme = (
        f"2000 gain {mean(more):.0f} points at Dirichlet 0.5 where 400 gain {mean(some):.0f}, for {seconds:.1f} times"
    )
    assert readme in words_of("README.md")


def test_what_two_repairs_bring_the_rivals_follows_from_the_scores() -> None:
    page, rivals = words_of("docs/results.md"), ("FedMD", "RHFL", "MDH-FL", "MDH-FL, CE weight 1")

    def gains(method: str, over: str) -> list[float]:
        return gains_of("rivals", "Dirichlet 0.5", method=method, over=over)

    repaired = {rival: gains(f"{rival}, repaired", rival) for rival in rivals}
    assert [rival for rival, gained in repaired.items() if min(gained) > 0] == ["FedMD", "MDH-FL"]
    brought = [mean(gained) for gained in repaired.values()]
    said = (
        "gain {:.1f} points (FedMD), {:.1f} (RHFL), {:.1f} (MDH-FL) and {:.1f} (MDH-FL, CE weight 1); RHFL and the last"
    )
    assert said.format(*brought) in page
    assert f"the rivals gain {min(brought):.1f} to {max(brought):.1f} points and stay below training alone" in page
    behind = [mean(gains(ALONE, f"{rival}, repaired")) for rival in rivals]
    assert min(behind) == behind[-1] > 0
    best = f"{rivals[-1]}, repaired"
    has = mean(float(row["macro_f1"]) for row in scores("rivals") if row["method"] == best)
    assert f"has {has:.1f}: {behind[-1]:.1f} behind the strongest" in page
    assert f"training alone and {mean(gains('MDH-FL+', best)):.1f} behind MDH-FL+" in page


def test_what_the_rivals_reach_by_noise_in_the_prose_follows_from_the_scores() -> None:
    page, rows = words_of("docs/results.md"), scores("rivals_by_noise")

    def score(noise: str, method: str, column: str = "macro_f1") -> float:
        return mean(float(row[column]) for row in rows if (row["noise"], row["method"]) == (noise, method))

    five = ("MDH-FL+", ALONE, "local CE", "FedMD", "MDH-FL")
    right, flipped = ([score(noise, method) for method in five] for noise in ("none", "pair flip 0.3"))
    said = "MDH-FL+ has {:.1f} points of macro-F1, the strongest training alone {:.1f}, plain training alone {:.1f}, "
    assert (said + "FedMD {:.1f}, MDH-FL {:.1f};").format(*right) in page
    assert "with 30 % pair flips {:.1f}, {:.1f}, {:.1f}, {:.1f} and {:.1f}. No method".format(*flipped) in page
    own = [score(n, five[0], "own_macro_f1") - score(n, five[1], "own_macro_f1") for n in ("none", "pair flip 0.3")]
    assert f"MDH-FL+ is {right[0] - right[1]:.1f} points of macro-F1 ahead of the strongest" in page
    assert f"and {own[0]:.1f} on own images; with pair flips {flipped[0] - flipped[1]:.1f} and {own[1]:.1f}" in page
    assert f"FedMD loses {right[2] - right[3]:.1f} points to plain" in page
    assert f"without wrong labels and {flipped[2] - flipped[3]:.1f} with pair flips" in page
    lost = [score(n, "local CE") - score(n, m) for n in ("none", "pair flip 0.3") for m in ("MDH-FL", "RHFL")]
    assert "lose {:.0f} and {:.0f} points without wrong labels, {:.0f} and {:.0f} with pair flips".format(*lost) in page
    own = [score("pair flip 0.3", m, "own_accuracy") for m in ("MDH-FL", "RHFL", "local CE")]
    assert "(accuracy {:.0f} and {:.0f} against {:.0f} %)".format(*own) in page
    one = [score(n, "MDH-FL, CE weight 1") for n in ("none", "pair flip 0.3")]
    assert "A CE weight of 1 brings MDH-FL to {:.1f} and {:.1f}".format(*one) in page


def test_what_other_forms_cost_in_the_prose_follows_from_the_scores() -> None:
    def score(method: str) -> float:
        return mean(float(row["macro_f1"]) for row in scores("other_forms") if row["method"] == method)

    page, best = words_of("docs/results.md"), score("MDH-FL+")
    joint, coupled, loss = (
        best - score(f"MDH-FL+, {form}") for form in ("joint steps", "coupled pairs of classes", "the paper's loss")
    )
    alone, proxy = score(ALONE), score("ProxyFL")
    assert f"Joint steps have {joint:.1f} points less macro-F1 than phases, coupled pairs {coupled:.1f} less" in page
    assert f"and the paper's loss {loss:.1f} less" in page
    above, below = proxy - alone, best - proxy
    assert f"is {above:.1f} points above the strongest training alone here, and {below:.1f} below MDH-FL+" in page


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


def test_the_hours_that_the_data_page_gives_are_those_of_the_runs() -> None:
    hours = {
        folder.name: sum(float(row["wall_seconds"]) for row in scores(folder.name)) / 3600
        for folder in RESULTS.iterdir()
    }
    page = words_of("docs/data.md")
    assert f"took {hours[HEADLINE]:.1f} hours together, those of all tables {sum(hours.values()):.0f}" in page

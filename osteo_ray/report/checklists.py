"""Reporting guidelines as lists of items, each with what a run knows of it.

Items have the numbers of the guidelines, which have the full text, and are named in short words:
TRIPOD+AI (Collins et al., BMJ 2024; 385: e078378) and the 2024 update of CLAIM (Tejani et al.,
Radiology: Artificial Intelligence 2024; 6: e240300).
"""

from collections.abc import Mapping
from dataclasses import dataclass

NOT_REPORTED = "not reported"


@dataclass(frozen=True)
class Item:
    """An item of a guideline.

    Attributes:
        number: As in the guideline.
        topic: What it asks for, in a few words.
        fact: The name of what a run knows of it; empty if no run can know it.
    """

    number: str
    topic: str
    fact: str = ""


def fill(items: tuple[Item, ...], facts: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return number, topic, and what is known or `not reported`, for each item."""
    return [(one.number, one.topic, facts.get(one.fact) or NOT_REPORTED) for one in items]


TRIPOD_AI = (
    Item("1", "Title: development or evaluation, target population, outcome"),
    Item("2", "Abstract"),
    Item("3a", "Background: healthcare context and rationale"),
    Item("3b", "Background: target population, purpose, intended users", "use"),
    Item("3c", "Background: known health inequalities"),
    Item("4", "Objectives", "aim"),
    Item("5a", "Sources of data and their representativeness", "data"),
    Item("5b", "Dates of the data"),
    Item("6a", "Setting and number of centres", "sites"),
    Item("6b", "Eligibility criteria", "selection"),
    Item("6c", "Treatments received, and how they were handled"),
    Item("7", "Data preparation and quality checks", "preparation"),
    Item("8a", "Outcome, its time horizon, how it was assessed", "classes"),
    Item("8b", "Who assessed a subjective outcome"),
    Item("8c", "Blinding of the assessment"),
    Item("9a", "Choice of predictors", "predictors"),
    Item("9b", "Definition and measurement of predictors", "predictors"),
    Item("9c", "Who assessed subjective predictors"),
    Item("10", "Sample size", "power"),
    Item("11", "Missing data", "missing"),
    Item("12a", "How data were used: partitions", "split"),
    Item("12b", "How predictors were handled", "preparation"),
    Item("12c", "Type of model, building, tuning, internal validation", "training"),
    Item("12d", "Heterogeneity between clusters", "sites"),
    Item("12e", "Measures and plots of performance", "metrics"),
    Item("12f", "Updating of the model", "recalibration"),
    Item("12g", "How predictions are calculated", "prediction"),
    Item("13", "Class imbalance", "imbalance"),
    Item("14", "Fairness", "subgroups"),
    Item("15", "Output of the model and thresholds", "output"),
    Item("16", "Differences between training and evaluation data", "external"),
    Item("17", "Ethical approval"),
    Item("18a", "Funding and role of the funders"),
    Item("18b", "Conflicts of interest"),
    Item("18c", "Study protocol", "plan"),
    Item("18d", "Registration"),
    Item("18e", "Data sharing"),
    Item("18f", "Code sharing", "code"),
    Item("19", "Patient and public involvement"),
    Item("20a", "Flow of participants", "flow"),
    Item("20b", "Characteristics of participants, by data source"),
    Item("20c", "Development and evaluation data compared", "external"),
    Item("21", "Participants and outcome events in each analysis", "counts"),
    Item("22", "Full specification of the model", "weights"),
    Item("23a", "Performance with confidence intervals, also of subgroups", "performance"),
    Item("23b", "Heterogeneity of performance between clusters", "site_results"),
    Item("24", "Results of updating", "recalibration"),
    Item("25", "Interpretation", "verdict"),
    Item("26", "Limitations", "limits"),
    Item("27a", "Usability: poor or unavailable input", "missing"),
    Item("27b", "Usability: interaction and expertise required of users"),
    Item("27c", "Next steps for research", "next"),
)
CLAIM_2024 = (
    Item("1", "Title or abstract: AI methodology and category of technology", "aim"),
    Item("2", "Abstract: design, methods, results, conclusions"),
    Item("3", "Background, intended use and role of the AI approach", "use"),
    Item("4", "Aims, objectives and hypotheses", "aim"),
    Item("5", "Prospective or retrospective"),
    Item("6", "Goal of the study", "aim"),
    Item("7", "Data sources", "data"),
    Item("8", "Inclusion and exclusion criteria", "selection"),
    Item("9", "Data preprocessing", "preparation"),
    Item("10", "Selection of data subsets", "selection"),
    Item("11", "De-identification"),
    Item("12", "Missing data", "missing"),
    Item("13", "Image acquisition protocol"),
    Item("14", "Method by which the reference standard was obtained", "classes"),
    Item("15", "Rationale for the reference standard"),
    Item("16", "Source of the reference annotations"),
    Item("17", "Annotation of the test set"),
    Item("18", "Variability between and within raters"),
    Item("19", "Assignment of data to partitions", "split"),
    Item("20", "Level at which partitions are disjoint", "disjoint"),
    Item("21", "Intended sample size of the testing data", "power"),
    Item("22", "Description of the model", "model"),
    Item("23", "Software libraries, frameworks and packages", "software"),
    Item("24", "Initialization of parameters", "start"),
    Item("25", "Training approach", "training"),
    Item("26", "Selection of the final model", "keep"),
    Item("27", "Ensembles", "prediction"),
    Item("28", "Metrics", "metrics"),
    Item("29", "Significance and uncertainty", "statistics"),
    Item("30", "Robustness or sensitivity analysis", "robustness"),
    Item("31", "Explainability or interpretability", "explanations"),
    Item("32", "Evaluation on internal data", "performance"),
    Item("33", "Testing on external data", "external"),
    Item("34", "Registration of a clinical trial"),
    Item("35", "Numbers included and excluded", "flow"),
    Item("36", "Demographic and clinical characteristics in each partition"),
    Item("37", "Performance metrics and their uncertainty", "performance"),
    Item("38", "Diagnostic performance and its precision", "performance"),
    Item("39", "Failure analysis of incorrect results", "failures"),
    Item("40", "Limitations", "limits"),
    Item("41", "Implications for practice, intended use, clinical role", "use"),
    Item("42", "Full protocol or technical details", "plan"),
    Item("43", "Availability of software, model and data", "code"),
    Item("44", "Funding and role of the funders"),
)

"""The recipes that come with Hubbub, and a look at one that a guest wrote."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import hubbub
from hubbub.core.corpora import CheckedRecipe, Prompt, RecipeFault, WorkedRecipe
from hubbub.core.errors import ConfigError
from hubbub.corpus.items import Items
from hubbub.corpus.problems import RecipeError
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.recipe_check import load, parse

HERE = Path("the recipe")
"""What a recipe without a file is called in errors."""
_PACKAGE = Path(hubbub.__file__).parent
FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parent.parent / "recipes")
"""In an installed package, and in a checkout."""


@cache
def worked() -> tuple[WorkedRecipe, ...]:
    """By name. Blocks on the disk the first time."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    return () if folder is None else tuple(_worked(load(path)) for path in sorted(folder.glob("*.toml")))


def _worked(recipe: Recipe) -> WorkedRecipe:
    target = f"{recipe.target.amount} {recipe.target.unit}"
    linked = recipe.links is not None
    return WorkedRecipe(recipe.name, recipe.description, target, recipe.languages, linked, recipe.source)


def guest_recipe(text: str, target: str = "", seed: int | None = None) -> Recipe:
    """Raises RecipeError."""
    return parse(text, HERE, target=target or None, seed=seed, guest=True)


def checked(text: str, target: str, prompts: int) -> CheckedRecipe:
    """What is wrong with it; or what it is, with its first ``prompts``. Blocks."""
    try:
        recipe = guest_recipe(text, target)
        shown = _prompts(recipe, prompts)
    except RecipeError as error:
        faults = tuple(RecipeFault(found.line, found.key, found.message) for found in error.problems)
        return CheckedRecipe(faults)
    except ConfigError as error:
        return CheckedRecipe((RecipeFault(0, "", error.message),))
    return CheckedRecipe(
        name=recipe.name,
        description=recipe.description,
        target=recipe.target.amount,
        unit=recipe.target.unit.value,
        languages=recipe.languages,
        linked=recipe.links is not None,
        steps=tuple(step.name for step in recipe.steps),
        prompts=shown,
    )


def _prompts(recipe: Recipe, count: int) -> tuple[Prompt, ...]:
    items = Items(recipe)
    shown = []
    for index in range(count if count <= 2 * recipe.epoch else 2 * recipe.epoch):
        item = items.item(index)
        call = items.first_call(item)
        said = tuple((message.role.value, message.text) for message in call.messages) if call else ()
        shown.append(Prompt(index, item.title, said))
    return tuple(shown)

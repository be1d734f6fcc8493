"""What is checked in a document before it is carried out, with the codes that Shopify gives.

Fields, selections and arguments are checked here, since their errors carry a path and names of their own; all other
rules are graphql-core's.
"""

from typing import Any

from graphql import (
    ArgumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    InlineFragmentNode,
    ListValueNode,
    ObjectFieldNode,
    OperationDefinitionNode,
    ValidationRule,
    VariableDefinitionNode,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    specified_rules,
)
from graphql.validation import (
    FieldsOnCorrectTypeRule,
    KnownArgumentNamesRule,
    ProvidedRequiredArgumentsRule,
    ScalarLeafsRule,
)
from graphql.validation.rules.known_argument_names import KnownArgumentNamesOnDirectivesRule
from graphql.validation.rules.provided_required_arguments import ProvidedRequiredArgumentsOnDirectivesRule

MAX_LIST = 250
"""Entries of a list in the input at most."""
LONG_LISTS = {"variants": 2048}
"""Input fields whose lists may be longer: https://shopify.dev/docs/api/admin-graphql/latest/mutations/productSet."""


_HOLDERS = (ArgumentNode, ObjectFieldNode, VariableDefinitionNode)


class ShopifyFieldsRule(ValidationRule):
    """Fields that do not exist, selections that do not fit, arguments that are unknown or missing."""

    def enter_field(self, node: FieldNode, _key: Any, _parent: Any, _path: Any, ancestors: list[Any]) -> None:
        """Checks a field with its arguments and its selections."""
        parent, field, name = self.context.get_parent_type(), self.context.get_field_def(), node.name.value
        if parent is None:
            return
        if field is None:
            message = f"Field '{name}' doesn't exist on type '{parent.name}'"
            self._tell(node, ancestors, message, code="undefinedField", typeName=parent.name, fieldName=name)
            return
        given = {argument.name.value for argument in node.arguments or ()}
        for argument in sorted(given - field.args.keys()):
            message = f"Field '{name}' doesn't accept argument '{argument}'"
            names = {"name": name, "typeName": "Field", "argumentName": argument}
            self._tell(node, ancestors, message, code="argumentNotAccepted", **names)
        missing = [key for key, argument in field.args.items() if is_required_argument(argument) and key not in given]
        if missing:
            listed = ", ".join(missing)
            message = f"Field '{name}' is missing required arguments: {listed}"
            names = {"className": "Field", "name": name, "arguments": listed}
            self._tell(node, ancestors, message, code="missingRequiredArguments", **names)
        named = get_named_type(field.type)
        names = {"code": "selectionMismatch", "nodeName": f"field '{name}'", "typeName": str(field.type)}
        if is_leaf_type(named) and node.selection_set:
            message = f"Selections can't be made on scalars (field '{name}' returns {named.name} but has selections)"
            self._tell(node, ancestors, message, **names)
        elif not is_leaf_type(named) and not node.selection_set:
            message = f"Field must have selections (field '{name}' returns {named.name} but has no selections. "
            self._tell(node, ancestors, message + f"Did you mean '{name} {{ ... }}'?)", **names)

    def enter_list_value(self, node: ListValueNode, _key: Any, parent: Any, _path: Any, ancestors: list[Any]) -> None:
        """Checks the length of a list that is written into the document."""
        holders = (each for each in (parent, *reversed(ancestors)) if isinstance(each, _HOLDERS))
        most = next((LONG_LISTS.get(_name_of(holder), MAX_LIST) for holder in holders), MAX_LIST)
        if len(node.values) > most:
            message = f"The input array size of {len(node.values)} is greater than the maximum allowed of {most}."
            self.report_error(GraphQLError(message, node, extensions={"code": "MAX_INPUT_SIZE_EXCEEDED"}))

    def _tell(self, node: FieldNode, ancestors: list[Any], message: str, **extensions: Any) -> None:
        path = [name for name in map(_path_name, (*ancestors, node)) if name]
        self.report_error(GraphQLError(message, node, extensions={**extensions, "path": path}))


def _name_of(holder: ArgumentNode | ObjectFieldNode | VariableDefinitionNode) -> str:
    return (holder.variable if isinstance(holder, VariableDefinitionNode) else holder).name.value


def _path_name(node: Any) -> str | None:
    """Names a node in the path of an error, as in `query Products`."""
    if isinstance(node, OperationDefinitionNode):
        return node.operation.value + (f" {node.name.value}" if node.name else "")
    if isinstance(node, FragmentDefinitionNode):
        return f"fragment {node.name.value}"
    if isinstance(node, InlineFragmentNode):
        return f"... on {node.type_condition.name.value}" if node.type_condition else "..."
    return (node.alias or node.name).value if isinstance(node, FieldNode) else None


_REPLACED = (FieldsOnCorrectTypeRule, KnownArgumentNamesRule, ProvidedRequiredArgumentsRule, ScalarLeafsRule)
RULES = (
    ShopifyFieldsRule,
    KnownArgumentNamesOnDirectivesRule,
    ProvidedRequiredArgumentsOnDirectivesRule,
    *(rule for rule in specified_rules if rule not in _REPLACED),
)
"""The rules of a document, for graphql.validate()."""

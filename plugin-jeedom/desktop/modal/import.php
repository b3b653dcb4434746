<?php
if (!isConnect('admin')) {
    throw new Exception('{{401 - Accès non autorisé}}');
}
?>
<div id="md_domofluxImport">
    <p>{{Les équipements de Traffic Mirror sont repris sur place : leurs identifiants, historiques, scénarios et designs continuent de fonctionner.}}
        {{Le démon de Traffic Mirror est arrêté d'abord. L'import peut être annulé.}}</p>
    <div data-domoflux="note" class="alert alert-info" role="status" hidden></div>
    <div class="table-responsive">
        <table class="table table-condensed">
            <thead>
                <tr>
                    <th style="width:30px;"></th>
                    <th>{{Équipement}}</th>
                    <th>{{État}}</th>
                    <th>{{Devient}}</th>
                    <th>{{Import}}</th>
                </tr>
            </thead>
            <tbody data-domoflux="list"></tbody>
        </table>
    </div>
    <button type="button" class="btn btn-success" data-domoflux-action="importApply"><i class="fas fa-file-import"></i> {{Importer}}</button>
    <button type="button" class="btn btn-warning" data-domoflux-action="importUndo"><i class="fas fa-undo"></i> {{Annuler l'import}}</button>
    <button type="button" class="btn btn-default pull-right" data-domoflux-action="close"><i class="fas fa-check"></i> {{Terminer}}</button>
</div>
<?php
include_file('desktop', 'domoflux.import', 'js', 'domoflux');
